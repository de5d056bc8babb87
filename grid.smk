# Many trainings at once: data sets x rows x seeds, and notebooks about them, on this machine or on a cluster. From the repository root:
#   .venv/bin/snakemake -s grid.smk -c 2 --config preset=tiny datasets="walkers walkers_occluded" rows="s3ce_net sew_resnet18" seeds="0 1"
#   .venv/bin/snakemake -s grid.smk --profile profiles/slurm --config ...      (the same grid as Slurm jobs)
#   ... --config datasets="mars prid2011" data="mars=/sets/mars prid2011=/sets/prid" ...    (sets of files: where each lies)
# Rows are those of `python -m reidlib.ablations`: methods and their ablations. Killed, it resumes; a job that fails is tried again and the
# rest goes on; the leaderboard names what is missing.
import shlex
import subprocess
import sys

LISTS = {"datasets": "walkers", "rows": "s3ce_net sew_resnet18 resnet18_events", "seeds": "0", "notebooks": "", "data": ""}
DATASETS, ROWS, SEEDS, NOTEBOOKS, PLACES = (str(config.get(name) or default).split() for name, default in LISTS.items())
PRESET, FOLDER = (str(config.get(name) or default) for name, default in (("preset", "tiny"), ("folder", "grid")))
DATA = dict(place.partition("=")[::2] for place in PLACES)  # the plan refuses what is no NAME=FOLDER
PYTHON = shlex.quote(sys.executable)
REPORT = f"reports/{FOLDER}-{PRESET}"


def run(dataset):
    """Where the trainings of a data set lie: where `make report` puts them, so that nothing is trained twice."""
    return f"runs/{dataset}-{PRESET}"


def planned(dataset):
    """{(row, seed): row it begins with, or -} of what the grid asks for and what that begins with."""
    found = {}
    for seed in SEEDS:
        asked = [sys.executable, "-m", "reidlib.analysis.grid", "plan", "--dataset", dataset, "--preset", PRESET, "--seeds", seed, "--rows", *ROWS]
        asked += ["--data", *PLACES] if PLACES else []
        listed = subprocess.run(asked, capture_output=True, text=True)
        if listed.returncode:
            raise WorkflowError(f"cannot plan the grid: {listed.stderr.strip()}")
        found |= {(row, seed): start for row, start in map(str.split, listed.stdout.splitlines())}
    return found


STARTS = {(dataset, *training): start for dataset in DATASETS for training, start in planned(dataset).items()}


def about(wildcards):
    """Arguments of a command about one data set."""
    name = wildcards.dataset
    found = ["--dataset", name, "--preset", PRESET, "--output-dir", run(name)] + (["--data", DATA[name]] if name in DATA else [])
    return shlex.join(found)


def begins_with(wildcards):
    start = STARTS[wildcards.dataset, wildcards.row, wildcards.seed]
    return [] if start == "-" else f"{run(wildcards.dataset)}/grid/{start}-{wildcards.seed}.done"


wildcard_constraints:
    dataset="|".join(DATASETS),
    row="|".join(sorted({row for _, row, _ in STARTS})),
    notebook="|".join(NOTEBOOKS) or "-",
    seed=r"\d+",


localrules:
    all,
    leaderboard,


rule all:
    input:
        f"{REPORT}/README.md",
        expand(REPORT + "/{dataset}-{row}-{seed}/{notebook}.ipynb", dataset=DATASETS, row=ROWS, seed=SEEDS, notebook=NOTEBOOKS),


# A data set is built once; trainings that need it wait.
rule data:
    output:
        touch(f"runs/{{dataset}}-{PRESET}/grid/data-{{seed}}.done"),
    log:
        f"runs/{{dataset}}-{PRESET}/logs/grid-data-{{seed}}.log",
    params:
        about=about,
    threads: 2
    shell:
        "{PYTHON} -m reidlib.experiment data {params.about} --seed {wildcards.seed} > {log} 2>&1"


rule train:
    input:
        data=rules.data.output,
        start=begins_with,
    output:
        touch(f"runs/{{dataset}}-{PRESET}/grid/{{row}}-{{seed}}.done"),
    log:
        f"runs/{{dataset}}-{PRESET}/logs/grid-{{row}}-{{seed}}.log",
    params:
        about=about,
    threads: 1
    shell:
        "OMP_NUM_THREADS={threads} {PYTHON} -m reidlib.experiment train {params.about} --row {wildcards.row} --seed {wildcards.seed}"
        " --threads {threads} > {log} 2>&1"


# A notebook about one cell: its row in the centre, its seed the first.
rule notebook:
    input:
        notebook="notebooks/{notebook}.ipynb",
        trained=f"runs/{{dataset}}-{PRESET}/grid/{{row}}-{{seed}}.done",
    output:
        f"{REPORT}/{{dataset}}-{{row}}-{{seed}}/{{notebook}}.ipynb",
    log:
        f"{REPORT}/{{dataset}}-{{row}}-{{seed}}/{{notebook}}.log",
    params:
        given=lambda wildcards: shlex.join(
            part
            for name, value in (("DATASET", wildcards.dataset), ("PRESET", PRESET), ("DATA", DATA.get(wildcards.dataset, "")))
            for part in ("-p", name, value)
        ),
    threads: 1
    shell:
        "OMP_NUM_THREADS={threads} {PYTHON} -m reidlib.reports run {input.notebook} --output {output} {params.given}"
        " -p SEED {wildcards.seed} -p OUTPUT_DIR runs/{wildcards.dataset}-{PRESET} --offer METHOD {wildcards.row} > {log} 2>&1"


BOARD = f"{PYTHON} -m reidlib.analysis.grid board " + shlex.join(
    ["--preset", PRESET, "--folder", REPORT, "--datasets", *DATASETS, "--rows", *ROWS, "--seeds", *SEEDS]
    + (["--data", *PLACES] if PLACES else [])
)


rule leaderboard:
    input:
        [f"{run(dataset)}/grid/{row}-{seed}.done" for dataset, row, seed in STARTS],
    output:
        f"{REPORT}/leaderboard.csv",
        f"{REPORT}/README.md",
    shell:
        "{BOARD}"


onerror:
    shell(BOARD)  # what did run is worth reading; the rest is named as missing
