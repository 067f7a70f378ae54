import pickle
import re
from dataclasses import replace

import pytest
import torch

import torchmoments as tm
from torchmoments_lab.inputs import InputMixing, partner_of_the_images
from torchmoments_lab.methods import _MIXERS, parse_method, parse_methods
from torchmoments_lab.models.stages import usual_places
from torchmoments_lab.spec import OF_FEATURES


def test_a_word_without_options_is_the_default_at_the_places_of_its_source():
    assert parse_method("none").mixer is None
    assert parse_method("moex").mixer == tm.MoEx()
    assert parse_method("labels").mixer == tm.LabelsOnly()
    assert parse_method("moex").at is None
    assert [parse_method(word).mixer for word in ("mixstyle", "efdmix", "dsu", "crossnorm", "padain")] == [
        tm.MixStyle(),
        tm.EFDMix(),
        tm.DSU(),
        tm.CrossNorm(),
        tm.PermutedAdaIN(),
    ]
    assert parse_method("mixup").inputs == InputMixing("mixup")
    assert parse_method("mixup").mixer is None


def test_every_method_of_features_has_its_word_and_its_place():
    """What spec.py, methods.py and models/stages.py say of each."""
    torchvision = pytest.importorskip("torchvision")
    model = torchvision.models.resnet18()
    assert set(_MIXERS) == set(OF_FEATURES)
    for word in OF_FEATURES:
        method = parse_method(word)
        assert method.goes_after_stem == (usual_places(method.mixer, model) is None), word
    assert not parse_method("none").goes_after_stem
    assert not parse_method("moex:at=layer1").goes_after_stem


def test_options_reach_the_mixer():
    method = parse_method("moex:norm=in,lam=0.7,p=0.25,partner=derangement,positive_only=True,at=layer1+layer2")
    assert method.mixer == tm.MoEx(norm="in", lam=0.7, p=0.25, partner="derangement", positive_only=True)
    assert method.at == ("layer1", "layer2")
    assert parse_method("moex:norm=1+3").mixer == tm.MoEx(norm=(1, 3))
    assert parse_method("moex:alpha=0.3,per_sample=True").mixer == tm.MoEx(alpha=0.3, per_sample=True)
    assert parse_method("moex:alpha=None").mixer == tm.MoEx()
    assert parse_method("crossnorm:crop=both,p=0.2").mixer == tm.CrossNorm(0.2, "both")
    assert parse_method("crossnorm:places_per_step=1").mixer == tm.CrossNorm(places_per_step=1)
    assert parse_method("mixstyle:partner=other-group").needs_groups
    assert not parse_method("mixstyle").needs_groups
    assert not parse_method("dsu").needs_groups
    assert parse_method("mixstyle:lam=0.9,label_from=other").mixer == tm.MixStyle(lam=0.9, label_from="other")
    assert parse_method("random-moments:norm=in").mixer == tm.RandomMoments("in")
    assert parse_method("moex").calls is None
    assert [parse_method(f"moex:calls={calls}").calls for calls in ("first", "all", "2")] == ["first", "all", 2]


def test_images_are_mixed_before_features():
    method = parse_method("cutmix:alpha=0.5+moex:p=0.25,at=layer1")
    assert method.inputs == InputMixing("cutmix", alpha=0.5)
    assert method.mixer == tm.MoEx(p=0.25)
    assert method.at == ("layer1",)
    assert parse_method("mixup:p=0.5").inputs == InputMixing("mixup", p=0.5)
    assert parse_method("cutmix+moex") != parse_method("moex")
    assert parse_method("cutmix+moex") != parse_method("mixup+moex")


@pytest.mark.parametrize("images", ["mixup", "cutmix:p=0.5"])
@pytest.mark.parametrize("features", ["moex", "labels", "mixstyle", "efdmix", "crossnorm", "padain"])
def test_features_have_the_partner_of_the_images_where_the_word_says_so(images, features):
    method = parse_method(f"{images}+{features}:same_partner=True")
    plain = parse_method(f"{images}+{features}")
    assert method.mixer.partner is partner_of_the_images
    assert replace(method.mixer, partner="random") == plain.mixer
    assert method.inputs == plain.inputs
    assert method != plain
    assert parse_method(f"{images}+{features}:same_partner=False") == plain
    assert pickle.loads(pickle.dumps(method)) == method


def test_with_the_partner_of_the_images_the_coins_are_those_of_any_partner():
    same, other = (parse_method(f"cutmix+moex{option}").mixer for option in (":same_partner=True", ""))
    streams = [torch.Generator().manual_seed(5) for _ in range(2)]
    drawn = [(same.draw(8, generator=streams[0]), other.draw(8, generator=streams[1])) for _ in range(40)]
    assert 5 < sum(mine is None for mine, _ in drawn) < 35
    assert all((mine is None) == (theirs is None) for mine, theirs in drawn)


def test_labels_draws_what_moex_draws_and_leaves_the_features():
    labels, moex = parse_method("labels:p=0.7").mixer, parse_method("moex:p=0.7").mixer
    streams = [torch.Generator().manual_seed(5) for _ in range(2)]
    mixed = 0
    for _ in range(30):
        mine, theirs = labels.draw(8, generator=streams[0]), moex.draw(8, generator=streams[1])
        assert (mine is None) == (theirs is None)
        if mine is not None:
            mixed += 1
            assert mine.partner.equal(theirs.partner)
            assert mine.label_weight == theirs.label_weight == 0.9
            x = torch.randn(8, 3, 4, 4)
            assert labels(x, mine) is x
    assert 10 < mixed < 30


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("meox", "Nearest: 'moex'. All: none, labels, moex"),
        ("moex:lambda=0.9", "unknown option, 'lambda'. Nearest: 'lam'. All: norm, p, lam, eps, partner"),
        ("moex:lam=1.5", "lam needs a number from 0 to 1; got 1.5"),
        ("moex:lam=nan", "lam needs a number from 0 to 1; got nan"),
        ("moex:p=-0.1", "p needs a number from 0 to 1; got -0.1"),
        ("moex:p=nan", "p needs a number from 0 to 1; got nan"),
        ("moex:p=half", "p needs a number; got 'half'"),
        ("moex:p=", "each option once, with a value; got 'p='"),
        ("moex:p=0.1,p=0.2", "each option once, with a value; got 'p=0.2'"),
        ("moex:norm=panda", "panda"),
        ("moex:", "needs options after the colon; got none. Write moex, or moex:p=0.5."),
        ("moex:norm=(1,3)", "needs + between the values of a list; got 'norm=(1'. Write norm=1+3."),
        ("crossnorm:crop=all", "crop needs one of None, style, content, both"),
        ("mixup:at=stem", "unknown option, 'at'. All: p, alpha"),
        ("cutmix:alpha=0", "alpha needs a number over 0"),
        ("cutmix+", "methods needs known methods; got 'cutmix+'"),
        ("moex+cutmix:p=0.5", "images are mixed before features; got 'moex+cutmix:p=0.5'. Write cutmix:p=0.5+moex."),
        ("moex+mixstyle", "one of mixup, cutmix, smooth with one of features"),
        ("mixup+cutmix", "one of mixup, cutmix, smooth with one of features"),
        ("cutmix+moex+dsu", "one of mixup, cutmix, smooth with one of features"),
        ("cutmix+none", "'none' cannot be combined; got 'cutmix+none'. Leave it out."),
        ("none:p=0.5", "method 'none' needs no options"),
        ("moex:same_partner=True", "same_partner needs images that are mixed with a partner before the features"),
        ("smooth+moex:same_partner=True", "Write cutmix+moex:same_partner=True, for example."),
        ("cutmix+moex:same_partner=yes", "same_partner needs True or False; got 'yes'"),
        ("cutmix:same_partner=True+moex", "unknown option, 'same_partner'. All: p, alpha"),
        ("cutmix+dsu:same_partner=True", "unknown option, 'same_partner'"),
        ("cutmix+moex:partner=derangement,same_partner=True", "and partner=derangement. Leave one out."),
    ],
)
def test_a_wrong_word_is_refused_with_what_to_write(word, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        parse_method(word)


@pytest.mark.parametrize("words", [["none", "none"], ["moex", "moex:p=0.5"]])
def test_the_same_method_twice_is_refused(words):
    with pytest.raises(ValueError, match="which are the same"):
        parse_methods(words)


def test_labels_with_other_options_of_the_features_are_the_same_method():
    assert parse_method("labels:norm=in,eps=1e-3,grad=own,p=0.2") == parse_method("labels:p=0.2")
    assert parse_method("labels:p=0.2") != parse_method("labels:p=0.3")
    assert parse_method("labels:lam=0.5,label_from=other").mixer == tm.LabelsOnly(lam=0.5, label_from="other")
    with pytest.raises(ValueError, match="norm needs one of"):
        parse_method("labels:norm=batch")


def test_partners_of_all_devices_are_tried_in_one_process():
    method = parse_method("moex:partner=global")
    assert method.mixer == tm.MoEx(partner="global")
    assert method.always().mixer == tm.MoEx(p=1.0)
    assert parse_method("smooth+moex:partner=global").mixer == tm.MoEx(partner="global")
    with pytest.raises(ValueError, match="'cutmix\\+moex:partner=global': the labels of mixed images .* Leave partner"):
        parse_method("cutmix+moex:partner=global")
    with pytest.raises(ValueError, match="'efdmix:partner=global': .* never features, which EFDMix needs"):
        parse_method("efdmix:partner=global")
