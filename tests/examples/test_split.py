import data
import numpy as np
import pytest

Y = np.repeat(np.arange(10), 144)


@pytest.mark.parametrize("clients", [1, 2, 5, 20])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_sample_goes_to_exactly_one_client(clients, seed):
    parts = data.split(Y, clients, seed)
    assert len(parts) == clients
    assert sorted(np.concatenate(parts)) == list(range(len(Y)))


@pytest.mark.parametrize("clients", [2, 5, 20])
def test_every_client_gets_a_quarter_of_an_equal_share_or_more(clients):
    for seed in range(5):
        sizes = [len(part) for part in data.split(Y, clients, seed)]
        assert min(sizes) >= len(Y) / clients / 4


@pytest.mark.parametrize("seed", range(5))
def test_the_clients_see_different_digits(seed):
    shares = [np.bincount(Y[part], minlength=10) / len(part) for part in data.split(Y, 5, seed)]
    top_three = [sum(sorted(share)[-3:]) for share in shares]
    assert np.mean(top_three) > 0.6  # an even split gives 0.3


def test_the_seed_decides_the_split():
    first, again, other = (data.split(Y, 5, seed) for seed in (7, 7, 8))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("clients", [0, 21])
def test_a_number_of_clients_that_the_digits_dont_suffice_for_is_refused(clients):
    with pytest.raises(ValueError, match="1 to 20 clients"):
        data.split(Y, clients, 0)


def test_the_files_hold_all_digits_and_the_common_test_set_is_nobodys(tmp_path):
    data.write_slices(tmp_path, clients=3, seed=0)
    files = {path.name: np.load(path) for path in tmp_path.iterdir()}
    assert set(files) == {"client-1.npz", "client-2.npz", "client-3.npz", "test.npz"}
    images = {name: {image.tobytes() for image in file["x"]} for name, file in files.items()}
    assert len(set.union(*images.values())) == sum(map(len, images.values())) == 1797
    assert len(images["test.npz"]) == 360
    for file in files.values():
        assert file["x"].shape[1:] == (1, 8, 8)
        assert file["x"].dtype == np.float32
        assert 0 <= file["x"].min() <= file["x"].max() <= 1
