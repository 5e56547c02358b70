# Writes a docker archive to stdout: layers, then the configuration, then
# manifest.json. What it does meanwhile it says on stderr.
set -euo pipefail
export LC_ALL=C

if [ "${1-}" = --repo_tag ]; then
  repo_tag=$2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/root/nix/store" "$work/image"
cd "$work/image"

diff_ids= history= layers= members=
# add FILE COMMENT: FILE is a layer
add() {
  sum=$(sha256sum < "$1" | cut -d ' ' -f 1)
  mkdir -p "$sum"
  mv "$1" "$sum/layer.tar"
  diff_ids=$diff_ids,\"sha256:$sum\"
  history=$history,{\"created\":\"$created\",\"comment\":\"store\ paths:\ $2\"}
  layers=$layers,\"$sum/layer.tar\"
  members="$members $sum/layer.tar"
}

n=0
# pack PATH...: a layer of these store paths
pack() {
  n=$((n + 1))
  echo "Creating layer $n from paths: $*" >&2
  tar --create --file layer.tar --sort=name --mtime=@1 --owner=0 --group=0 --numeric-owner \
    -C "$work/root" --no-recursion nix nix/store -C / --recursion "${@#/}"
  add layer.tar "$*"
}

paths=()
while read -r path; do
  paths+=("$path")
done < "$closure"
while [ ${#paths[@]} -gt 0 ] && [ "$n" -lt $((max_layers - 2)) ]; do
  pack "${paths[0]}"
  paths=("${paths[@]:1}")
done
[ ${#paths[@]} -eq 0 ] || pack "${paths[@]}"

echo "Creating layer $((n + 1)) with customisation..." >&2
cp "$customisation/layer.tar" layer.tar
add layer.tar "$customisation"

echo "Adding manifests..." >&2
[ "$created" != now ] || created=$(date -u +%Y-%m-%dT%H:%M:%SZ)
printf '{"architecture":"%s","config":%s,"created":"%s","history":[%s],"os":"linux","rootfs":{"diff_ids":[%s],"type":"layers"}}' \
  "$architecture" "$config" "$created" "${history#,}" "${diff_ids#,}" > config
sum=$(sha256sum < config | cut -d ' ' -f 1)
mv config "$sum.json"
printf '[{"Config":"%s.json","RepoTags":["%s"],"Layers":[%s]}]' "$sum" "$repo_tag" "${layers#,}" > manifest.json
# shellcheck disable=SC2086 # the members are several
tar --create --mtime=@1 --owner=0 --group=0 --numeric-owner $members "$sum.json" manifest.json
echo "Done." >&2
