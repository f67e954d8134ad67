#!/bin/sh
# bindings/python/tests/run-flower.sh BUILD_DIR: gradclip.flower with Flower's own server, strategies,
# client mods and transport, on the loopback interface. In an environment of its own: flwr holds
# many packages at versions that do not suit the rest.
peer=flower gigabytes=0.4 packages="flwr numpy" about="flwr" environment=flower
. "$(dirname "$0")/peers.sh"
compare tests/with_flower
