"""How the scripts beside this one put their cases into `goldens/index.json`, one to a line, and their names into `spec.json`."""
import json, os

HERE = os.path.dirname(os.path.abspath(__file__))
INDEX = os.path.join(HERE, "goldens", "index.json")
SPEC = os.path.join(HERE, "spec.json")


def put(file, cases):
    """Replaces the cases of a file of tensors, where they stand; new ones come last."""
    index = json.load(open(INDEX))
    place = next((i for i, case in enumerate(index["cases"]) if case["file"] == file), len(index["cases"]))
    others = [case for case in index["cases"] if case["file"] != file]
    with open(INDEX, "w") as f:
        f.write('{"versions": ' + json.dumps(index["versions"]) + ',\n"cases": [\n')
        f.write(",\n".join(json.dumps(case, ensure_ascii=False) for case in others[:place] + cases + others[place:]) + "\n]}\n")


def list_in_spec(script, cases):
    """Says in `spec.json` that these cases of a script must be there."""
    spec = json.load(open(SPEC))
    spec["other_scripts"][script] = [f"{case['group']}/{case['case']}" for case in cases]
    with open(SPEC, "w") as f:
        f.write(json.dumps(spec, indent=1) + "\n")
