"""Class and register tokens stay as they are, where a place has them."""

import pytest
import torch
from torch import nn

import torchmoments as tm
from torchmoments.tokens import tokens_around


class Vit(nn.Module):
    """Patches, a class token before them, a block."""

    def __init__(self, num_patches=None):
        super().__init__()
        self.cls_token = nn.Parameter(torch.randn(1, 1, 6))
        self.patch_embed = nn.Linear(3, 6)
        self.block = nn.Linear(6, 6)
        if num_patches is not None:
            self.patch_embed.num_patches = num_patches

    def forward(self, x):
        return self.block(torch.cat([self.cls_token.expand(len(x), -1, -1), self.patch_embed(x)], 1))


def mixed_and_plain(model, place, x, **arguments):
    """Features at a place in a step, and the same ones mixed as a whole."""
    found = []
    site = tm.attach(model, tm.MoEx("in", p=1), at=place, seed=0, **arguments)
    model.get_submodule(place).register_forward_hook(lambda module, inputs, output: found.append(output))
    with site.using(None):
        model(x)
    with site.mixing(len(x)) as plan:
        model(x)
    plan.terms  # noqa: B018 - the labels do not matter here
    return found[1], found[0], plan.draws[place].partner


@pytest.mark.parametrize("norm", ["pono", "in"])
def test_the_class_token_of_a_block_stays_out(norm):
    model = Vit(num_patches=5)
    x = torch.randn(8, 5, 3)
    site = tm.attach(model, tm.MoEx(norm, p=1), at="block", seed=0, automatic=False)
    plain = model(x)
    with site.mixing(8) as plan:
        mixed = model(x)
    assert torch.equal(mixed[:, 0], plain[:, 0])
    expected = tm.exchange(plain[:, 1:], plan.draws["block"].partner, norm, channel_dim=-1)
    torch.testing.assert_close(mixed[:, 1:], expected)


def test_patches_that_have_no_class_token_yet_are_all_mixed():
    mixed, plain, partner = mixed_and_plain(Vit(num_patches=5), "patch_embed", torch.randn(8, 5, 3))
    torch.testing.assert_close(mixed, tm.exchange(plain, partner, "in", channel_dim=-1))


@pytest.mark.parametrize(("number", "said"), [(None, "whose patches are not known"), (9, "of 9 patches")])
def test_what_cannot_be_told_is_asked(number, said):
    model = Vit(number)
    site = tm.attach(model, tm.MoEx(p=1), at="block", seed=0)
    sentence = rf"'block' have 6 tokens.*{said} that has 1 more.*Use prefix_tokens=1"
    with pytest.raises(ValueError, match=sentence), site.mixing(4):
        model(torch.randn(4, 5, 3))
    mixed, plain, _ = mixed_and_plain(Vit(number), "block", torch.randn(4, 5, 3), prefix_tokens=1)
    assert torch.equal(mixed[:, 0], plain[:, 0])
    assert not torch.equal(mixed, plain)


def test_features_need_more_tokens_than_the_user_says_stay():
    model = Vit()
    site = tm.attach(model, tm.MoEx(p=1), at="block", prefix_tokens=6, seed=0)
    with pytest.raises(ValueError, match="more tokens than the 6 prefix tokens; got 6"), site.mixing(4):
        model(torch.randn(4, 5, 3))


class Named(nn.Module):
    def __init__(self, **parameters):
        super().__init__()
        for name, value in parameters.items():
            setattr(self, name, value)
        self.num_patches = 9
        self.place = nn.Identity()


def parameter(*shape):
    return nn.Parameter(torch.zeros(*shape))


@pytest.mark.parametrize(
    ("module", "number"),
    [
        (Named(), 0),
        (Named(cls_token=parameter(1, 1, 6)), 1),
        (Named(class_embedding=parameter(6)), 1),
        (Named(class_token=parameter(1, 6)), 1),
        (Named(cls_token=parameter(1, 1, 6), register_tokens=parameter(1, 4, 6)), 5),
        (Named(cls_token=parameter(1, 1, 6), distillation_token=parameter(1, 1, 6)), 2),
        (Named(cls_token=nn.ParameterList([parameter(1, 1, 6)])), 1),
        (Named(cls_token_0=parameter(1, 1, 6)), 1),
        (Named(mask_token=parameter(1, 1, 6), token_type_embedding=parameter(2, 6)), 0),
        (Named(cls_token=parameter(1, 1, 6), num_prefix_tokens=0), 0),
    ],
)
def test_tokens_are_found_whatever_they_are_called(module, number):
    assert tokens_around(module, "place").before_image("place", 9 + number) == number
    assert tokens_around(module, "place").before_image("place", 9) == 0


def test_tokens_are_those_of_the_nearest_module_that_has_some():
    towers = nn.ModuleDict({"a": Named(cls_token=parameter(1, 2, 6)), "b": Named(cls_token=parameter(1, 1, 6))})
    assert [tokens_around(towers, f"{name}.place").number for name in "ab"] == [2, 1]


def test_a_tower_without_tokens_does_not_take_those_of_another():
    towers = nn.ModuleDict({"vision": Named(cls_token=parameter(1, 1, 6)), "text": nn.Linear(6, 6)})
    with pytest.raises(ValueError, match=r"'text' have 12 tokens.*prefix_tokens=0"):
        tokens_around(towers, "text").before_image("text", 12)


class PatchEmbeddings(nn.Module):
    def __init__(self, knows_patches):
        super().__init__()
        self.projection = nn.Conv2d(3, 6, 2, 2)
        if knows_patches:
            self.num_patches = 9

    def forward(self, x):
        return self.projection(x).flatten(2).transpose(1, 2)


class Embeddings(nn.Module):
    """Tokens before those of the patches, as the models of transformers have them."""

    def __init__(self, tokens, knows_patches):
        super().__init__()
        self.patch_embeddings = PatchEmbeddings(knows_patches)
        self.mask_token = parameter(1, 1, 6)
        for name, shape in tokens.items():
            setattr(self, name, parameter(*shape))
        self.names = list(tokens)

    def forward(self, x):
        prefix = [getattr(self, name).reshape(1, -1, 6).expand(len(x), -1, -1) for name in self.names]
        return torch.cat([*prefix, self.patch_embeddings(x)], 1)


class OfTransformers(nn.Module):
    def __init__(self, tokens, knows_patches=True):
        super().__init__()
        self.embeddings = Embeddings(tokens, knows_patches)
        self.layers = nn.ModuleList([nn.Linear(6, 6), nn.LayerNorm(6)])

    def forward(self, x):
        x = self.embeddings(x)
        for layer in self.layers:
            x = layer(x)
        return x


def positions_that_stay(model, place, x):
    """The tokens of a place that a full exchange leaves as they are."""
    found = []
    model.eval()
    handle = model.get_submodule(place).register_forward_hook(lambda module, inputs, output: found.append(output))
    site = tm.attach(model, tm.MoEx("in", p=1, partner="derangement"), at=place, seed=0)
    after = model.get_submodule(place).register_forward_hook(lambda module, inputs, output: found.append(output))
    # The rest stays in eval mode, without dropout.
    model.training = True
    with torch.no_grad(), site.using(site.draw(len(x))):
        model(x)
    site.detach()
    handle.remove()
    after.remove()
    plain, mixed = found
    return [token for token in range(plain.shape[1]) if mixed[:, token].equal(plain[:, token])]


@pytest.mark.parametrize(
    ("tokens", "number"),
    [
        ({}, 0),
        ({"cls_token": (1, 1, 6)}, 1),
        ({"class_embedding": (6,)}, 1),
        ({"cls_token": (1, 1, 6), "distillation_token": (1, 1, 6)}, 2),
        ({"cls_token": (1, 1, 6), "register_tokens": (1, 4, 6)}, 5),
    ],
)
def test_models_of_transformers_mix_their_patches_alone(tokens, number):
    x = torch.randn(3, 3, 6, 6)
    for place, stay in (("embeddings.patch_embeddings", 0), ("embeddings", number), ("layers.0", number)):
        assert positions_that_stay(OfTransformers(tokens), place, x) == list(range(stay))


@pytest.mark.parametrize("place", ["embeddings.patch_embeddings", "embeddings", "layers.0"])
def test_models_of_transformers_that_do_not_tell_their_patches_ask(place):
    tokens = {"cls_token": (1, 1, 6), "distillation_token": (1, 1, 6)}
    with pytest.raises(ValueError, match="patches are not known that has 2 more.*Use prefix_tokens=2 if they all come"):
        positions_that_stay(OfTransformers(tokens, knows_patches=False), place, torch.randn(3, 3, 6, 6))


timm = pytest.importorskip("timm")
torchvision = pytest.importorskip("torchvision")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "place", "number"),
    [
        ("timm/vit_tiny_patch16_224", "patch_embed", 0),
        ("timm/vit_tiny_patch16_224", "blocks.0", 1),
        ("timm/deit_tiny_distilled_patch16_224", "blocks.1", 2),
        ("timm/cait_xxs24_224", "blocks.0", 0),
        ("timm/vit_wee_patch16_reg1_gap_256", "blocks.0", 1),
        ("vit_b_32", "encoder.layers.encoder_layer_0", 1),
    ],
)
def test_networks_of_libraries_tell(name, place, number):
    library, _, timms = name.rpartition("/")
    size = 256 if timms.endswith("256") else 224
    # Shapes are enough, and weights take a second; but timm before 1.0.21 reads values while it builds.
    with torch.device("cpu" if library else "meta"):
        model = timm.create_model(timms) if library else torchvision.models.get_model(name, weights=None)
        (found,) = [p for p in tm.places(model, torch.randn(2, 3, size, size)) if p.name == place]
    assert tokens_around(model, place).before_image(place, found.shape[1]) == number


SMALL = {"depth": 2, "embed_dim": 32, "num_heads": 2, "img_size": 64}


@pytest.mark.parametrize(
    ("name", "options", "stay"),
    [
        ("vit_tiny_patch16_224", SMALL, {"patch_embed": 0, "norm_pre": 1, "blocks.1.attn": 1, "norm": 1}),
        (
            "vit_tiny_patch16_224",
            {**SMALL, "class_token": False, "global_pool": "avg"},
            {"patch_embed": 0, "blocks.0": 0},
        ),
        ("vit_tiny_patch16_224", {**SMALL, "reg_tokens": 4}, {"patch_embed": 0, "blocks.0": 5}),
        ("deit_tiny_patch16_224", SMALL, {"patch_embed": 0, "blocks.0": 1}),
        ("deit_tiny_distilled_patch16_224", SMALL, {"patch_embed": 0, "blocks.0": 2}),
        ("beit_base_patch16_224", SMALL, {"patch_embed": 0, "blocks.0": 1}),
        ("eva02_tiny_patch14_224", {**SMALL, "img_size": 56}, {"patch_embed": 0, "blocks.0": 1}),
        ("xcit_nano_12_p16_224", SMALL, {"pos_drop": 0, "blocks.1": 0, "cls_attn_blocks.0": 1}),
        ("convit_tiny", {**SMALL, "embed_dim": 16, "local_up_to_layer": 1}, {"blocks.0": 0, "blocks.1": 1}),
        ("cait_xxs24_224", SMALL, {"patch_embed": 0, "blocks.1": 0}),
    ],
)
def test_networks_of_timm_mix_their_patches_alone(name, options, stay):
    torch.manual_seed(0)
    model = timm.create_model(name, **options)
    x = torch.randn(3, 3, options["img_size"], options["img_size"])
    for place, number in stay.items():
        assert positions_that_stay(model, place, x) == list(range(number))


@pytest.mark.parametrize(("name", "place"), [("coat_tiny", "serial_blocks1.0"), ("crossvit_tiny_240", "pos_drop")])
def test_networks_of_timm_with_class_tokens_of_several_towers_ask(name, place):
    size = 64 if name == "coat_tiny" else 240
    model = timm.create_model(name, img_size=size)
    with pytest.raises(ValueError, match="patches are not known"):
        positions_that_stay(model, place, torch.randn(2, 3, size, size))
