"""versions.py LIBRARY FLOAT MODEL...: how alike the first outputs of the float model and of each other model are in this version of
ONNX Runtime, as JSON: {"version": "1.30.0", "cosines": {MODEL: number or message}}. A model `library:MODEL` gets the library of kernels,
`exact:MODEL` the option session.x64quantprecision.
Each runs in a process of its own, since old versions crash on some."""
import json, os, sys
import numpy as np
import onnxruntime as ort

ort.set_default_logger_severity(4)
library, float_model, *models = sys.argv[1:]


def output(path):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    if path.startswith("library:"):
        options.register_custom_ops_library(library)
    if path.startswith("exact:"):
        options.add_session_config_entry("session.x64quantprecision", "1")
    session = ort.InferenceSession(path.split(":", 1)[-1], options, providers=["CPUExecutionProvider"])
    ids = (np.arange(24, dtype=np.int64) * 37 % 380).reshape(2, 12)
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    return session.run(None, {i.name: feeds[i.name] for i in session.get_inputs()})[0].astype(np.float64).ravel()


def cosine(path):
    y = output(path)
    return float(y @ reference / (np.linalg.norm(y) * np.linalg.norm(reference)))


def alone(path):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            found = cosine(path)
        except Exception as error:
            found = str(error)
        os.write(writer, json.dumps(found)[:60000].encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    status = os.waitpid(child, 0)[1]
    return json.loads(said) if status == 0 else f"crash: status {status}"


reference = output(float_model)
print(json.dumps({"version": ort.__version__, "cosines": {path: alone(path) for path in models}}))
