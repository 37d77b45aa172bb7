"""In a process of its own, on TensorFlow: a network of another backend, from its file to a SavedModel."""


def answer(request):
    """`model`: path of the .keras file; `folder`: of the SavedModel; `batch`: int or None."""
    from dirac_keras.deployment.formats.to_saved_model import write_saved_model
    from dirac_keras.files.keras_file import load_model

    model, _ = load_model(request["model"], compiled=False)
    write_saved_model(model, request["folder"], request["batch"])
    return {}
