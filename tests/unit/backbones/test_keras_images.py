"""Networks of Keras, from `.keras` files and from Keras' own cache, beside what `keras` itself computes."""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart.backbones.preprocess import prepare_image
from headstart.backbones.resolve import Local, load, open_local, resolve
from headstart.errors import BackboneError, OfflineError
from headstart.testing.backbones import BACKBONE_CHECKS, example

if importlib.util.find_spec("keras") is None:
    pytest.skip("needs headstart[keras]", allow_module_level=True)

from headstart.backbones.loaders import keras_images
from headstart.backbones.loaders.keras_images import keras

SIZE_PX = 64
# Class, module with its preprocess_input, and how that is found out about the network.
FAMILIES = [
    ("DenseNet121", "densenet", "densenet"),
    ("EfficientNetB0", "efficientnet", "in the network"),
    ("MobileNetV2", "mobilenet_v2", "mobilenet_v2"),
    ("ResNet50", "resnet", "resnet"),
]


def trained(network: Any) -> Any:
    """Random weights and norms as training leaves them, so that no features are nearly zero."""
    random = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = (weight.shape for weight in layer.get_weights())
            layer.set_weights(
                [
                    random.uniform(0.8, 1.2, gamma),
                    random.normal(0, 0.1, beta),
                    random.normal(0, 0.1, mean),
                    random.uniform(0.5, 1.5, variance),
                ]
            )
    return network


def application(name: str, size_px: int = SIZE_PX, **options: Any) -> Any:
    keras.utils.set_random_seed(0)
    with keras.device("cpu"):
        network = getattr(keras.applications, name)(
            weights=None, **{"include_top": False, "input_shape": (size_px, size_px, 3), **options}
        )
        return trained(network)


def tiny(*head: Any, size_px: int = 32) -> Any:
    """Scaling, two convolutions, and whatever comes behind."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((size_px, size_px, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(8, 3, strides=2, activation="relu", padding="same"),
            layers.Conv2D(16, 3, strides=2, activation="relu", padding="same"),
            *head,
        ]
    )


def saved(network: Any, file: Path) -> Path:
    network.save(file)
    return file


def last_of(local: Local, pictures: np.ndarray) -> np.ndarray:
    return load(local).forward(pictures)[:, -local.spec.layers[-1].width :]


def computed(network: Any, pictures: np.ndarray) -> np.ndarray:
    with keras.device("cpu"):
        return np.asarray(keras.ops.convert_to_numpy(network(pictures, training=False)))


@pytest.fixture(scope="module")
def of_family(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Any, Local]]:
    folder = tmp_path_factory.mktemp("families")
    made: dict[str, tuple[Any, Local]] = {}

    def make(name: str) -> tuple[Any, Local]:
        if name not in made:
            network = application(name)
            made[name] = network, resolve(str(saved(network, folder / f"{name}.keras")), folder)
        return made[name]

    return make


@pytest.mark.parametrize(("name", "module", "preprocessing"), FAMILIES)
def test_features_are_those_of_keras_after_its_own_preprocessing(
    name: str, module: str, preprocessing: str, of_family: Callable[[str], tuple[Any, Local]]
) -> None:
    network, local = of_family(name)
    pictures = np.random.default_rng(1).integers(0, 256, (3, SIZE_PX, SIZE_PX, 3)).astype(np.uint8)
    prepared = getattr(keras.applications, module).preprocess_input(pictures.astype(np.float32))
    expected = computed(network, prepared).mean(axis=(1, 2))
    np.testing.assert_allclose(last_of(local, pictures), expected, atol=1e-4 * np.abs(expected).max())
    assert local.spec.tag == f"preprocessing: {preprocessing}"
    assert np.abs(expected).max() > 1e-3


@pytest.mark.parametrize("check", BACKBONE_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", [name for name, _, _ in FAMILIES])
def test_promises(name: str, check: Callable[[Local], None], of_family: Callable[[str], tuple[Any, Local]]) -> None:
    check(of_family(name)[1])


def test_the_last_two_resolutions_are_kept_on_a_grid(of_family: Callable[[str], tuple[Any, Local]]) -> None:
    network, local = of_family("MobileNetV2")
    assert [(layer.name, layer.width, layer.grid) for layer in local.spec.layers] == [
        ("stage4", 96 * 16, 4),
        ("stage5", 160 * 4, 2),
        ("last", 1280, 1),
    ]
    pictures = np.asarray(example(local, 2))
    prepared = keras.applications.mobilenet_v2.preprocess_input(pictures.astype(np.float32))
    maps = computed(keras.Model(network.inputs[0], network.get_layer("block_15_add").output), prepared)
    assert maps.shape == (2, 2, 2, 160)
    expected = maps.transpose(0, 3, 1, 2).reshape(2, -1)
    start = 96 * 16
    np.testing.assert_allclose(load(local).forward(pictures)[:, start : start + 640], expected, atol=1e-4)


ALL = {
    "ConvNeXtTiny": "in the network",
    "EfficientNetV2B0": "in the network",
    "InceptionResNetV2": "inception_resnet_v2",
    "InceptionV3": "inception_v3",
    "MobileNet": "mobilenet",
    "MobileNetV3Small": "in the network",
    "ResNet50V2": "resnet_v2",
    "VGG16": "vgg16",
    "VGG19": "vgg16",
    "Xception": "xception",
    **{name: preprocessing for name, _, preprocessing in FAMILIES},
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in sorted(ALL)])
def test_every_family_is_recognised_by_its_layers(name: str) -> None:
    with keras.device("meta"):
        network = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(96, 96, 3))
        wrapped = keras.Sequential([keras.Input((96, 96, 3)), network, keras.layers.Flatten()])
    assert keras_images._preprocessing(network) == ALL[name]
    assert keras_images._preprocessing(wrapped) == ALL[name]
    family = keras.applications.__dict__.get(ALL[name])
    assert (family is None) == (ALL[name] == "in the network")
    own = sys.modules[getattr(keras.applications, name).__module__].preprocess_input
    pixels = np.random.default_rng(0).integers(0, 256, (1, 2, 2, 3)).astype(np.float32)
    ours = pixels if family is None else family.preprocess_input(pixels.copy())
    np.testing.assert_array_equal(ours, own(pixels.copy()))


def test_the_list_of_families_is_complete() -> None:
    build = [getattr(keras.applications, name) for name in dir(keras.applications) if name[0].isupper()]
    modules = {each.__module__ for each in build}
    # Keras itself refuses to build NASNet on torch, as of 3.15.
    modules.remove(keras.applications.NASNetMobile.__module__)
    assert {getattr(keras.applications, name).__module__ for name in ALL} == modules
    assert len(modules) == 14


def test_pictures_are_prepared_as_keras_loads_them(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 140, 3)).astype(np.uint8)
    file = tmp_path / "a.png"
    Image.fromarray(pixels).save(file)
    image = resolve(str(saved(tiny(), tmp_path / "a.keras")), tmp_path).spec.image
    assert image is not None
    ours = prepare_image(Image.open(file), image)
    theirs = keras.utils.load_img(file, target_size=(32, 32), interpolation="bilinear")
    np.testing.assert_array_equal(ours, np.asarray(theirs))


def dense(name: str = "answer", **options: Any) -> Any:
    return keras.layers.Dense(4, name=name, **options)


HEADS: dict[str, Callable[[], list[Any]]] = {
    "softmax within": lambda: [keras.layers.GlobalAveragePooling2D(), dense(activation="softmax")],
    "softmax behind": lambda: [keras.layers.GlobalAveragePooling2D(), dense(), keras.layers.Softmax()],
    "dropout before": lambda: [keras.layers.GlobalAveragePooling2D(), keras.layers.Dropout(0.5), dense()],
    "hidden layer": lambda: [keras.layers.Flatten(), keras.layers.Dense(6, activation="relu"), dense()],
}


@pytest.mark.parametrize("head", HEADS)
def test_features_are_what_the_last_dense_layer_sees(head: str, tmp_path: Path) -> None:
    network = tiny(*HEADS[head]())
    pictures = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    expected = computed(keras.Model(network.inputs[0], network.get_layer("answer").input), pictures.astype(np.float32))
    for given in (network, keras.Sequential([keras.Input((32, 32, 3)), network])):  # as it is, and inside another one
        local = resolve(str(saved(given, tmp_path / f"{given.name}.keras")), tmp_path)
        np.testing.assert_allclose(last_of(local, pictures), expected, atol=1e-5)
    assert expected.shape == (3, 6 if head == "hidden layer" else 16)


def test_a_fine_tuned_classifier_keeps_its_familys_preprocessing(tmp_path: Path) -> None:
    base = application("MobileNetV2", 32, pooling="avg")
    flat = keras.Model(base.inputs[0], dense(activation="softmax")(base.outputs[0]))
    inside = keras.Input((32, 32, 3))
    augmented = keras.layers.RandomFlip("horizontal")(inside)
    prepared = keras.applications.mobilenet_v2.preprocess_input(augmented)
    nested = keras.Model(inside, dense()(base(prepared, training=False)))
    pictures = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    expected = computed(base, keras.applications.mobilenet_v2.preprocess_input(pictures.astype(np.float32)))
    for network, preprocessing in ((flat, "mobilenet_v2"), (nested, "in the network")):
        local = resolve(str(saved(network, tmp_path / f"{preprocessing}.keras")), tmp_path)
        assert local.spec.tag == f"preprocessing: {preprocessing}"
        np.testing.assert_allclose(last_of(local, pictures), expected, atol=1e-4)


def test_a_network_of_no_family_that_does_not_scale_sees_pixels_of_0_to_255(tmp_path: Path) -> None:
    network = keras.Sequential(
        [keras.Input((16, 16, 3)), keras.layers.Conv2D(4, 3), keras.layers.GlobalMaxPooling2D(), dense()]
    )
    local = resolve(str(saved(network, tmp_path / "a.keras")), tmp_path)
    pictures = np.asarray(example(local, 2))
    expected = computed(keras.Model(network.inputs[0], network.layers[-1].input), pictures.astype(np.float32))
    np.testing.assert_allclose(last_of(local, pictures), expected, rtol=1e-5)
    assert local.spec.tag == "preprocessing: none"


def test_a_kept_network_needs_its_origin_no_more(tmp_path: Path) -> None:
    file = saved(tiny(keras.layers.GlobalAveragePooling2D(), dense()), tmp_path / "a.keras")
    local = resolve(str(file), tmp_path)
    assert (local.spec.name, local.spec.source.origin, list(local.sha256)) == ("local/a", "file", ["model.keras"])
    assert resolve(str(file), tmp_path) == local
    file.unlink()
    assert open_local(local.folder) == local
    assert load(local).forward(example(local, 1)).shape == (1, local.spec.width)


def refused(network: Any, tmp_path: Path) -> BackboneError:
    with pytest.raises(BackboneError) as caught:
        resolve(str(saved(network, tmp_path / "a.keras")), tmp_path)
    assert not list((tmp_path / "backbones").glob("*"))
    return caught.value


def test_code_in_a_network_is_never_run(tmp_path: Path) -> None:
    error = refused(tiny(keras.layers.Lambda(lambda maps: maps + 1)), tmp_path)
    assert str(error).startswith("the Keras network 'local/a' holds Python code (a Lambda layer, for example)")
    assert "registered class" in error.hint


def test_a_custom_layer_must_be_registered(tmp_path: Path) -> None:
    class Doubled(keras.layers.Layer):
        def call(self, maps: Any) -> Any:
            return maps * 2

    network = tiny(Doubled(), keras.layers.GlobalAveragePooling2D(), dense())
    error = refused(network, tmp_path)
    assert str(error) == "the Keras network 'local/a' has the custom part 'Doubled', whose code is not in the file"
    assert "@keras.saving.register_keras_serializable()" in error.hint
    keras.saving.register_keras_serializable("tests")(Doubled)
    try:
        local = resolve(str(saved(network, tmp_path / "b.keras")), tmp_path)
        pictures = np.asarray(example(local, 2))
        expected = computed(keras.Model(network.inputs[0], network.layers[-1].input), pictures.astype(np.float32))
        np.testing.assert_allclose(last_of(local, pictures), expected, atol=1e-5)
    finally:
        keras.saving.get_custom_objects().pop("tests>Doubled")
    with pytest.raises(BackboneError, match=r"the Keras network 'local/b' has the custom part '.*Doubled'"):
        load(local)


def test_files_that_are_no_networks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"there is no Keras network '.*missing\.keras'"):
        resolve(str(tmp_path / "missing.keras"), tmp_path)
    (tmp_path / "a.keras").write_bytes(b"not a zip")
    with pytest.raises(BackboneError, match=r"Keras [\d.]+ cannot read the network 'local/a': "):
        resolve(str(tmp_path / "a.keras"), tmp_path)


def test_networks_that_see_something_else_are_refused(tmp_path: Path) -> None:
    wide = keras.Sequential([keras.Input((16, 32, 3)), keras.layers.Flatten(), dense()])
    assert "must see square pictures, height × width × 3, but its input is [(None, 16, 32, 3)]" in str(
        refused(wide, tmp_path)
    )
    pixels = keras.Input((16, 16, 3))
    two = keras.Model(pixels, [keras.layers.Flatten()(pixels), keras.layers.GlobalMaxPooling2D()(pixels)])
    assert "must be functional or sequential, built, and have one output" in str(refused(two, tmp_path))


def test_an_end_without_dense_layer_is_refused(tmp_path: Path) -> None:
    network = tiny(keras.layers.Conv2D(4, 1), keras.layers.GlobalAveragePooling2D(), keras.layers.Softmax())
    error = refused(network, tmp_path)
    assert "are not to be found: it ends in 'global_average_pooling2d" in str(error)
    assert "keras.Model(model.inputs[0]" in error.hint


def test_names_of_keras_applications_are_checked(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"keras\.applications of Keras [\d.]+ has no 'EficientNetB0'") as caught:
        resolve("keras/EficientNetB0", tmp_path)
    assert caught.value.hint == "Did you mean 'EfficientNetB0'?"


def test_what_keras_does_not_build_on_torch_is_refused_in_its_words(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"Keras [\d.]+ cannot build 'NASNetMobile': NASNetMobile is not available"):
        resolve("keras/NASNetMobile", tmp_path)


@pytest.fixture
def keras_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "keras" / "models").mkdir(parents=True)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras"


def test_without_a_network_only_cached_weights_run(keras_home: Path, tmp_path: Path) -> None:
    with pytest.raises(
        OfflineError, match=r"the weights of 'keras/ResNet50' must be fetched, because '.*' is not there"
    ):
        resolve("keras/ResNet50", tmp_path)
    name = "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
    (keras_home / "models" / name).write_bytes(b"half of it")
    with pytest.raises(OfflineError, match=f"because '.*{name}' is damaged"):
        resolve("keras/ResNet50", tmp_path)
    assert (keras_home / "models" / name).exists()


def test_weights_in_keras_own_cache_run_without_a_network(keras_home: Path, tmp_path: Path) -> None:
    network = application("MobileNet", 224)  # Keras has no hash of this one
    cached = keras_home / "models" / "mobilenet_1_0_224_tf_no_top.h5"
    network.save(cached)
    local = resolve("keras/MobileNet", tmp_path)
    assert (local.spec.architecture, local.spec.tag, local.spec.source.origin) == ("MobileNet", "imagenet", "url")
    assert local.spec.image is not None
    assert local.spec.image.size_px == 224
    assert local.spec.gflops == pytest.approx(0.567, rel=0.02)  # Howard et al. 2017: 569 million multiply-adds
    pictures = np.asarray(example(local, 2))
    prepared = keras.applications.mobilenet.preprocess_input(pictures.astype(np.float32))
    expected = computed(network, prepared).mean(axis=(1, 2))
    np.testing.assert_allclose(last_of(local, pictures), expected, atol=1e-4 * np.abs(expected).max())
    cached.unlink()
    assert resolve("keras/MobileNet", tmp_path) == local


def test_another_backend_in_the_process_is_one_sentence() -> None:
    code = (
        "import os, types, sys\n"
        "other = types.ModuleType('keras'); other.backend = types.SimpleNamespace(backend=lambda: 'jax')\n"
        "sys.modules['keras'] = other\n"
        "from headstart.backbones.loaders import loader\n"
        "try: loader('keras')\n"
        "except Exception as error: print(type(error).__name__, error, error.hint, sep='|')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ})
    assert done.stdout.strip().split("|") == [
        "BackboneError",
        "Keras networks run on Keras' torch backend, but this process has Keras on 'jax'",
        "Set KERAS_BACKEND=torch before keras is imported.",
    ]


def test_without_keras_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras", None)
    monkeypatch.delitem(sys.modules, keras_images.__name__)
    monkeypatch.setattr("headstart.backbones.loaders.keras_images", keras_images)  # put back afterwards
    with pytest.raises(BackboneError, match="a Keras network needs the package 'keras'") as caught:
        importlib.import_module(keras_images.__name__)
    assert caught.value.hint == "Run: pip install 'headstart[keras]'"
