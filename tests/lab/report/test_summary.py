import pytest

from torchmoments_lab.report.summarize import is_control


@pytest.mark.parametrize(
    ("method", "labels", "belong"),
    [
        ("moex", "labels", True),
        ("moex:p=0.2,at=stem", "labels:p=0.2,at=stem", True),
        ("cutmix+moex:p=0.25", "cutmix+labels:p=0.25", True),
        ("moex:norm=in,p=0.2", "labels:p=0.2", True),
        ("moex:norm=in,p=0.2", "labels:norm=in,p=0.2", True),
        ("moex:p=0.2,at=stem", "labels:p=0.2", True),
        ("moex:p=0.2,lam=0.5", "labels:lam=0.5,p=0.2", True),
        ("moex", "labels:p=0.5", False),
        ("cutmix+moex", "labels", False),
        ("moex", "cutmix+labels", False),
        ("mixstyle", "labels", False),
        ("moex", "none", False),
    ],
)
def test_the_control_of_a_method_has_its_options_and_its_mixing_of_images(method, labels, belong):
    assert is_control(labels, method) == belong
