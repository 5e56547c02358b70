#!/usr/bin/env bash
# Images that were not built by Nix go the same way. Run from a Bazel workspace or
# from beside a Dockerfile: bazel-and-dockerfile.sh bazel|buildx IMAGE
set -euo pipefail

case $1 in
  # rules_img and rules_oci leave an OCI layout, in which blobs may be links.
  bazel) bazel build //app:image && factory push oci:bazel-bin/app/image --to "$2" ;;
  # Both platforms in one archive, which is pushed as it comes.
  buildx) docker buildx build --platform linux/amd64,linux/arm64 --output type=oci . | factory push - --to "$2" ;;
  *) echo "bazel or buildx?" >&2 && exit 2 ;;
esac
