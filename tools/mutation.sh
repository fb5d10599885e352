#!/usr/bin/env bash
# Change the deciding modules in every small way and see whether the pure core's tests notice; takes some minutes.
# Usage: tools/mutation.sh    The last line is one JSON object; fails below a share of 90 %.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly work=var/mutation
readonly venv=$work/venv
readonly bar=0.9
readonly modules='"admission/decision.py", "admission/by_ticket.py", "admission/by_subject.py", "admission/obstacles.py", "admission/liveness.py", "admission/overrides.py", "admission/validity.py", "admission/policy.py"'

if ! cmp --silent requirements-mutation.lock "$venv/lock"; then
    echo "mutation: Python packages: requirements-mutation.lock"
    .venv/bin/uv venv --quiet --clear --python .venv/bin/python "$venv"
    .venv/bin/uv pip install --quiet --python "$venv/bin/python" --require-hashes --no-build -r requirements-mutation.lock
    cp requirements-mutation.lock "$venv/lock"
fi

# In a copy of what the core's tests need: the changed modules never lie beside those that run.
rm -rf "$work/copy"
mkdir -p "$work/copy/tests"
cp -r admission config central sync demo "$work/copy"
cp -r tests/conftest.py tests/admission tests/support tests/vectors "$work/copy/tests"
cat >"$work/copy/pyproject.toml" <<END
[tool.mutmut]
source_paths = ["admission"]
only_mutate = [$modules]
pytest_add_cli_args_test_selection = ["tests/admission", "tests/vectors/test_decisions.py"]
also_copy = ["config", "central", "sync", "tests"]
pytest_add_cli_args = ["-p", "no:randomly"]
use_git_change_detection = false

[tool.pytest.ini_options]
asyncio_mode = "auto"
END

cd "$work/copy"
export PATH="$PWD/../venv/bin:$PATH"
echo "mutation: changing, and testing each change"
mutmut run --max-children "$(nproc)" | tr '\r' '\n' | grep -v '^$' | tail -n 3
mutmut export-cicd-stats >/dev/null
mutmut results >survivors.txt
python -I - "$bar" <<'END'
import json, sys

stats = json.load(open("mutants/mutmut-cicd-stats.json"))
survivors = [line.split(":")[0].strip() for line in open("survivors.txt") if "survived" in line]
tried = stats["total"] - stats.get("skipped", 0)
noticed = stats["killed"] + stats.get("timeout", 0)
share = round(noticed / tried, 4)
print(json.dumps({"tried": tried, "noticed": noticed, "share": share, "survived": survivors}))
sys.exit(share < float(sys.argv[1]))
END
