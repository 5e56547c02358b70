# Makes a docker archive with one layer: $closure's store paths and $customisation.
mkdir -p root/nix/store image
tar --extract --file "$customisation/layer.tar" -C root
while read -r path; do
  cp -a "$path" root/nix/store/
done < "$closure"

cd image
tar --create --file layer.tar -C ../root --sort=name --mtime=@1 --owner=0 --group=0 --numeric-owner .
sum=$(sha256sum < layer.tar | cut -d ' ' -f 1)
mkdir "$sum"
mv layer.tar "$sum/layer.tar"
printf 1.0 > "$sum/VERSION"
printf '{"id":"%s","created":"%s","os":"linux"}' "$sum" "$created" > "$sum/json"
printf '{"architecture":"%s","config":%s,"created":"%s","os":"linux","rootfs":{"diff_ids":["sha256:%s"],"type":"layers"}}' \
  "$architecture" "$config" "$created" "$sum" > config
id=$(sha256sum < config | cut -d ' ' -f 1)
mv config "$id.json"
printf '[{"Config":"%s.json","RepoTags":["%s:%s"],"Layers":["%s/layer.tar"]}]' "$id" "$repo" "$repo_tag" "$sum" > manifest.json
printf '{"%s":{"%s":"%s"}}' "$repo" "$repo_tag" "$sum" > repositories
tar --create --sort=name --mtime=@1 --owner=0 --group=0 --numeric-owner -- * | gzip -n > "$out"
