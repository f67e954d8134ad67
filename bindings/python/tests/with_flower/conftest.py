import os

# Flower would report each start to its makers otherwise.
os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
