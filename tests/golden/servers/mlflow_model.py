"""Saves an MLflow model into a folder, for its own scoring server: `python mlflow_model.py FOLDER`.

A delay is half the temperature, or missing where that is; the carrier is told back in lower case.
"""

import sys

import mlflow.pyfunc
import pandas


class Delays(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        frame = pandas.DataFrame(model_input)
        return pandas.DataFrame({"delay": frame["temp"] / 2, "code": frame["carrier"].str.lower()})


if __name__ == "__main__":
    mlflow.pyfunc.save_model(sys.argv[1], python_model=Delays())
