"""Models: up, down, and what they say."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import click
import numpy as np
import numpy.typing as npt

from fl_archive.narrowed import write_narrowed
from fl_client import transfers
from fl_client.command.session import Session, command, find, find_model
from fl_client.errors import Unfit
from fl_client.weights import open_model, read_arrays

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
TARGET = click.Path(dir_okay=False, path_type=Path)


@command("upload")
@click.argument("file", type=FILE)
@click.option("--as", "title", default="", help="Its name there; else the file's.")
@click.option("--description", default="uploaded by fl")
@click.option("--input-shape", default="", help="Such as null,1,28,28; null is any size.")
@click.option("--serving", type=FILE, help="The code that weights alone are to predict with.")
def upload(
    session: Session,
    file: Path,
    title: str,
    description: str,
    input_shape: str,
    serving: Path | None,
) -> None:
    """Upload a model: weights alone, TorchScript, or a module of torch's own classes."""
    shape = [None if size in ("null", "None") else int(size) for size in _split(input_shape)]
    model = session.api.upload_model(file, title or file.stem, description, shape)
    if serving:
        session.api.upload_serving(model, serving)
    session.say(f"The model is {model}.", {"model_id": model})


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


@command("download")
@click.argument("model")
@click.argument("target", type=TARGET)
@click.option("--checkpoint", default="", help="A version of it: its id, or its round.")
def download(session: Session, model: str, target: Path, checkpoint: str) -> None:
    """Download a model in the format in which it was uploaded; also by its training's id."""
    found = _download(session, model, target, checkpoint)
    session.say(f"It is in {target}.", {"model_id": found, "file": str(target)})


def _download(session: Session, model: str, target: Path, checkpoint: str = "") -> str:
    """Fetch a model, which is there as a whole or not at all; return its id."""
    found = str(find_model(session.api, model)["id"])
    coming = target.with_name(f"{target.name}.download")  # the next call goes on with it
    if checkpoint:
        version = find_checkpoint(session, found, checkpoint)
        session.api.download_checkpoint(found, version, coming)
    else:
        session.api.download_model(found, coming)
    coming.replace(target)
    transfers.forget(coming)
    return found


def find_checkpoint(session: Session, model: str, wanted: str) -> str:
    """Return a version's id, by its beginning or by its round."""
    rows = session.api.checkpoints(model)
    of_round = [row for row in rows if str(row["round"]) == wanted]
    return str((of_round or [find(rows, wanted, "version")])[-1]["id"])


@command("export")
@click.argument("model")
@click.argument("target", type=TARGET)
@click.option("--checkpoint", default="", help="A version of it: its id, or its round.")
@click.option("--dtype", type=click.Choice(["float16", "bfloat16", "int8"]), help="Fewer bits.")
def export(session: Session, model: str, target: Path, checkpoint: str, dtype: str | None) -> None:
    """Write a model's weights alone, whatever it came as: .safetensors or .npz."""
    if target.suffix not in (".safetensors", ".npz"):
        raise Unfit("Weights are exported to a file that ends in .safetensors or .npz.")
    whole = target.with_name(f"{target.name}.model")
    found = _download(session, model, whole, checkpoint)
    try:
        if target.suffix == ".npz":
            _write_npz(target, read_arrays(whole))
        else:
            with open_model(whole) as file:
                write_narrowed(file, target, dtype or "")
    finally:
        whole.unlink()
    session.say(f"Its weights are in {target}.", {"model_id": found, "file": str(target)})


def _write_npz(target: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Do as `numpy.savez`, which takes no array of the name `file`."""
    with ZipFile(target, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


@command("predict")
@click.argument("file", type=FILE)
@click.option("--model", default="", help="Its id, or its training's; else the newest.")
def predict(session: Session, file: Path, model: str) -> None:
    """Ask a model about a picture, or another input in a file."""
    answer = session.api.predict(str(find_model(session.api, model)["id"]), file)
    lines = [f"inference: {json.dumps(answer['inference'])}"]
    lines += [f"{name}: {json.dumps(value)}" for name, value in answer["uncertainty"].items()]
    session.say("\n".join(lines), answer)
