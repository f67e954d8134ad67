#!/bin/sh
# bindings/python/tests/run-tensorflow.sh BUILD_DIR: against TensorFlow, and Keras' optimizers.
peer=tensorflow gigabytes=1.4 packages="tensorflow-cpu keras scikit-learn" about="tensorflow-cpu keras numpy"
. "$(dirname "$0")/peers.sh"
compare -W default tests/peers/test_tensorflow.py
