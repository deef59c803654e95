"""The sweep by Ray Tune, run by a Python that has it: prints the seconds of `Tuner.fit`.

Set up as its documentation does first: a grid of rates and seeds, a trainable function that reports
once an epoch, a core a trial; the data is put into Ray's object store once.
"""

import json
import sys
import time

import ray
from ray import tune

from bench import notebook
from models.datasets import DATASETS
from models.settings import Settings
from worker.training.data.tensors import load


def main() -> None:
    """Run the sweep."""
    width, batch, seeds = map(int, sys.argv[1:])
    ray.init(log_to_driver=False, include_dashboard=False)
    data = load("mnist", Settings.load().data_dir, "cpu")
    arrays = [x.numpy() for x in (data.train_x, data.train_y, data.valid_x, data.valid_y)]
    trainable = tune.with_parameters(_train, arrays=arrays, width=width, batch=batch)
    space = {"lr": tune.grid_search([0.05, 0.1]), "seed": tune.grid_search(list(range(seeds)))}
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space=space,
        run_config=tune.RunConfig(verbose=0),
    )
    began = time.perf_counter()
    results = tuner.fit()
    seconds = time.perf_counter() - began
    assert not results.errors
    assert len(results) == 2 * seeds
    print(json.dumps(seconds))


def _train(config: dict[str, float], arrays: list[object], width: int, batch: int) -> None:
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(int(config["seed"]))
    train_x, train_y, valid_x, valid_y = (torch.tensor(array) for array in arrays)
    dataset = DATASETS["mnist"]
    network = notebook.build((dataset.features, *(width,) * 3, dataset.classes), (0.9, 0.8, 0.8))
    notebook.train_epoch(network, train_x, train_y, batch, config["lr"])
    loss, accuracy = notebook.evaluate(network, valid_x, valid_y)
    tune.report({"valid_loss": loss, "valid_accuracy": accuracy})


if __name__ == "__main__":
    main()
