# The order of the notebooks. `make report` and `make study` call this; by hand, from the repository root:
#   .venv/bin/snakemake -c 2 --config dataset=walkers preset=demo seed=0
# A change re-runs just what it touches, an interrupted run resumes, and independent notebooks run side by side.
import shlex
import subprocess
import sys
from pathlib import Path

# What each notebook needs before it can run. A notebook that is not named here comes after DEFAULT.
AFTER = {
    "00_your_data": [],
    "01_data": ["00_your_data"],  # both build the set where it is someone's own
    "02_training": ["01_data"],
    "03_ablations": ["02_training"],
    "04_embeddings": ["02_training"],
    "05_attention": ["03_ablations"],  # both train "ssam" where nothing was trained ahead
    "07_efficiency": ["02_training"],
}
DEFAULT = ["02_training"]
# Notebooks about some systems, named by their own rows: left out where none of these is trained (another METHOD, a set without video).
ABOUT = {
    "05_attention": {"s3ce_net"},
    "05_attention_sdcl": {"sdcl"},
    "05_attention_video": {"ianet", "tclnet", "vrstc", "rfcnet", "bicnet_tks"},
    "06_robustness": {"sdcl"},
}
# It shows someone's own data; elsewhere it makes an example, which only the tiny run has time for.
OWN_DATA = "00_your_data"
# Notebooks that train or measure time get the machine to themselves; the others share it, one core each.
ALONE = ["07_efficiency"]
# The longest of the others begins first, or one core would wait for it at the end. Trainings go before notebooks, but where none is left to
# begin, a notebook about a system that is trained need not wait for the others.
LONGEST = "06_robustness"
# The code that a notebook's results depend on: the whole package but what only shapes the pages, or the parts named here.
# (Trainings are found again by the hash of their settings: a change in the plots re-runs notebooks and no training.)
NOT_RESULTS = ["reports", "efficiency.py", "counting.py"]
CODE = {
    "01_data": ["events", "datasets", "analysis", "metrics", "plots", "ablations", "config.py", "evaluation.py", "experiment.py", "files.py"],
    **dict.fromkeys(("07_efficiency", "08_leaderboard"), [path.name for path in sorted(Path("reidlib").iterdir()) if path.name != "reports"]),
}
# Files beside the code and the data that a notebook's results depend on.
READS = {
    "03_ablations": sorted(str(path) for folder in ("published", "study") for path in Path("reports", folder).rglob("*.csv")),
    "08_leaderboard": sorted(str(path) for path in Path("reports/published").glob("*.csv")),
}
# Presets whose every (row, seed) is trained as a job of its own before the notebooks, one core each.
TRAINED_AHEAD = ["demo", "study"]

# --config NAME= arrives as None.
setting = {name: "" if config.get(name) is None else str(config[name]) for name in ("data", "gait", "method", "command")}
DATASET, PRESET, SEED = (str(config.get(name, default)) for name, default in (("dataset", "walkers"), ("preset", "demo"), ("seed", 0)))
NAME = f"{DATASET}{'-gait' if setting['gait'] else ''}-{PRESET}"  # recorded gaits make another data set
REPORT, RUN = f"reports/{NAME}", f"runs/{NAME}"
PYTHON = shlex.quote(sys.executable)
COMMON = {"DATASET": DATASET, "PRESET": PRESET, "SEED": SEED, "OUTPUT_DIR": RUN, "DATA": setting["data"], "GAIT": setting["gait"]}
PARAMETERS = " ".join(f"-p {name} {shlex.quote(value)}" for name, value in COMMON.items())
OFFERED = f"--offer METHOD {shlex.quote(setting['method'])}"


# --- What is trained --------------------------------------------------------------------------------------------------
# `python -m reidlib.ablations` prints one training per line, "ROW SEED START SYSTEM" (START: the row whose weights it begins with, or -).
listed = subprocess.run(
    [sys.executable, "-m", "reidlib.ablations", "--dataset", DATASET, "--preset", PRESET, "--seed", SEED, "--method", setting["method"]]
    + ["--data", setting["data"]],
    capture_output=True, text=True,
)
if listed.returncode:
    raise WorkflowError(f"cannot list the trainings of preset {PRESET!r}: {listed.stderr.strip()}")
PLAN = [line.split() for line in listed.stdout.splitlines()]
STARTS = {(row, seed): start for row, seed, start, _ in PLAN}
SYSTEM = {row: system for row, _, _, system in PLAN}
ROWS = set(SYSTEM)
if PRESET not in TRAINED_AHEAD:
    ALONE.append("02_training")
NOTEBOOKS = sorted(path.stem for path in Path("notebooks").glob("*.ipynb") if ABOUT.get(path.stem, ROWS) & ROWS)
NOTEBOOKS = [name for name in NOTEBOOKS if name != OWN_DATA or DATASET == "own" or PRESET == "tiny"]


def code(notebook):
    """Source files of the package that the notebook depends on."""
    parts = CODE.get(notebook) or [path.name for path in Path("reidlib").iterdir() if path.name not in NOT_RESULTS]
    return sorted(str(file) for part in parts for file in [Path("reidlib", part), *Path("reidlib", part).rglob("*.py")] if file.suffix == ".py")


def earlier(notebook):
    """Results of the notebooks that this one builds on; where everything was trained ahead that is the data's alone."""
    ahead = PRESET in TRAINED_AHEAD and notebook not in ("00_your_data", "01_data")
    before = ["01_data"] if ahead else AFTER.get(notebook, DEFAULT)
    return [f"{RUN}/results/{name}.json" for name in before if name in NOTEBOOKS and name != notebook]


rule all:
    input:
        f"{REPORT}/index.html",


# --- Trainings ahead of the notebooks: every (row, seed) of TRAINED_AHEAD presets ------------------------------------
# `train` trains one into OUTPUT_DIR, where the notebooks find it by the hash of its settings.
TRAININGS = {(row, seed): f"{RUN}/trained/{row}-{seed}.done" for row, seed in STARTS if PRESET in TRAINED_AHEAD}


def trained_for(notebook):
    """The trainings that a notebook waits for: those of the systems that it is about, else all; none for one about the data alone."""
    if notebook in ("01_data", OWN_DATA):
        return []
    return [done for (row, _), done in TRAININGS.items() if SYSTEM[row] in ABOUT.get(notebook, {SYSTEM[row]})]


def begins_with(wildcards):
    """The training whose weights this one begins with."""
    start = STARTS[wildcards.row, wildcards.seed]
    return [] if start == "-" else f"{RUN}/trained/{start}-{wildcards.seed}.done"


# What others begin with goes first: they would keep a core waiting at the end.
FIRST = {start for start in STARTS.values() if start != "-"}

for name, rows in (("train_first", FIRST), ("train", ROWS - FIRST)):

    rule:
        name: name
        input:
            code=code("02_training"),
            data=f"{RUN}/results/01_data.json",
            start=begins_with,
        output:
            touch(f"{RUN}/trained/{{row}}-{{seed}}.done"),
        log:
            f"{RUN}/logs/train-{{row}}-{{seed}}.log",
        params:
            options=" ".join(f"--{key.lower().replace('_', '-')} {shlex.quote(COMMON[key])}" for key in COMMON if COMMON[key] and key != "SEED"),
        wildcard_constraints:
            row="|".join(sorted(rows)) or "-",
            seed=r"\d+",
        threads: 1
        priority: 2 + (name == "train_first")
        shell:
            "OMP_NUM_THREADS={threads} {PYTHON} -m reidlib.experiment train {params.options} --row {wildcards.row} --seed {wildcards.seed}"
            " 2>&1 | tee {log}"


# --- One job per notebook --------------------------------------------------------------------------------------------
for notebook in NOTEBOOKS:

    rule:
        name: f"notebook_{notebook}"
        input:
            notebook=f"notebooks/{notebook}.ipynb",
            code=code(notebook) + READS.get(notebook, []),
            earlier=earlier(notebook),
            trained=trained_for(notebook),
        output:
            executed=f"{REPORT}/notebooks/{notebook}.ipynb",
            results=f"{RUN}/results/{notebook}.json",
        log:
            f"{RUN}/logs/{notebook}.log",
        params:
            given=PARAMETERS,
            offered=OFFERED,
        threads: workflow.cores if notebook in ALONE else 1
        priority: int(notebook == LONGEST)
        shell:
            "OMP_NUM_THREADS={threads} {PYTHON} -m reidlib.reports run {input.notebook} --output {output.executed} {params.given} {params.offered}"
            " 2>&1 | tee {log}"


# --- The report ------------------------------------------------------------------------------------------------------
INDEX = " ".join(
    [f"{PYTHON} -m reidlib.reports index {REPORT} --output-dir {RUN} --name {shlex.quote(f'{DATASET}, {PRESET}')}"]
    + [f"--command {shlex.quote(setting['command'])}"]
    + [f"-p {label} {shlex.quote(COMMON[name])}" for label, name in (("Dataset", "DATASET"), ("Preset", "PRESET"), ("Seed", "SEED"))]
    + [f"-p {label} {shlex.quote(COMMON[name])}" for label, name in (("Data", "DATA"), ("Gait", "GAIT")) if COMMON[name]]
    + [f"--notebooks {' '.join(NOTEBOOKS)}"]
)
PAGES = f"{PYTHON} -m reidlib.reports html --folder {REPORT}"


rule html:
    input:
        executed=[f"{REPORT}/notebooks/{name}.ipynb" for name in NOTEBOOKS],
        code=sorted(str(file) for file in Path("reidlib/reports").rglob("*") if file.suffix in {".py", ".j2", ".css"}),
    output:
        [f"{REPORT}/{name}.html" for name in NOTEBOOKS],
    log:
        f"{RUN}/logs/html.log",
    shell:
        "{PAGES} {input.executed} > {log} 2>&1"


rule index:
    input:
        pages=rules.html.output,
        results=[f"{RUN}/results/{name}.json" for name in NOTEBOOKS],
    output:
        f"{REPORT}/index.html",
    log:
        f"{RUN}/logs/index.log",
    params:
        command=INDEX,
    shell:
        "{params.command} > {log} 2>&1"


onerror:
    # What did run is still worth reading; the page names what is missing.
    executed = [path for path in (f"{REPORT}/notebooks/{name}.ipynb" for name in NOTEBOOKS) if Path(path).is_file()]
    if executed:
        shell(f"{PAGES} {' '.join(executed)}")
    shell(INDEX)
