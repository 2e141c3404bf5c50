import torch

from tests.api.conftest import as_user, files, load, make_module, saved, upload
from tests.factories import LocalModelFactory

URL = "/api/models/"


def put_preprocessing(client, id, file):
    data = {"model_preprocessing_file": file} if file else {}
    return client.post(f"{URL}{id}/preprocessing/", data, format="multipart")


def test_preprocessing_is_replaced_and_downloaded(client, training, participant):
    for start_dim in (1, 2):
        module = torch.nn.Sequential(torch.nn.Flatten(start_dim))
        response = put_preprocessing(client, training.model_id, saved(module))
        assert response.status_code == 202
        assert response.json() == {"detail": "Proprocessing Model Upload Accepted"}
    response = as_user(participant).get(f"{URL}{training.model_id}/preprocessing/")
    assert (
        response["Content-Disposition"] == f'filename="model-{training.model_id}-proprecessing.pt"'
    )
    assert load(response)[0].start_dim == 2


def test_an_update_answers_with_its_base_models_preprocessing(client, training):
    put_preprocessing(client, training.model_id, saved(torch.nn.Sequential(torch.nn.Flatten())))
    update = LocalModelFactory(base_model=training.model)
    response = client.get(f"{URL}{update.pk}/preprocessing/")
    assert response["Content-Disposition"] == f'filename="model-{update.pk}-proprecessing.pt"'
    assert len(load(response)) == 1


def test_a_lost_file_is_a_404(client, model):
    put_preprocessing(client, model.pk, saved(make_module()))
    model.refresh_from_db()
    model.preprocessing_file.storage.delete(model.preprocessing_file.name)
    response = client.get(f"{URL}{model.pk}/preprocessing/")
    assert response.status_code == 404
    assert "is gone" in response.json()["detail"]


def test_an_id_in_another_form_is_told_in_its_own(client, model):
    put_preprocessing(client, model.pk, saved(make_module()))
    response = client.get(f"{URL}{{{str(model.pk).upper()}}}/preprocessing/")
    assert response["Content-Disposition"] == f'filename="model-{model.pk}-proprecessing.pt"'
    assert response["Content-Type"] == "application/octet-stream"
    load(response)


def test_a_model_without_preprocessing_says_so(client, model):
    response = client.get(f"{URL}{model.pk}/preprocessing/")
    assert response.status_code == 404
    assert response.json() == {"detail": f"Model '{model.pk}' has no preprocessing model defined."}


def test_preprocessing_is_the_owners(training, participant, stranger, nobody):
    for caller in (as_user(participant), stranger):
        response = put_preprocessing(caller, training.model_id, saved(make_module()))
        assert response.status_code == 403
        assert response.json() == {"detail": f"You are not the owner of model {training.model_id}!"}
    assert stranger.get(f"{URL}{training.model_id}/preprocessing/").status_code == 403
    assert put_preprocessing(nobody, training.model_id, saved(make_module())).status_code == 401


def test_bad_preprocessing_changes_nothing(client, model, user):
    before = files()
    missing = put_preprocessing(client, model.pk, None)
    assert missing.json() == {"detail": "No uploaded file 'model_preprocessing_file' found."}
    refused = put_preprocessing(client, model.pk, upload(b"no"))
    assert refused.json()[0].startswith("Invalid preprocessing file: ")
    update = LocalModelFactory(owner=user)
    local = put_preprocessing(client, update.pk, saved(make_module()))
    assert local.json() == {"detail": f"GlobalModel {update.pk} not found."}
    model.refresh_from_db()
    assert (model.preprocessing_file.name, files()) == ("", before)
