# Links the files of $paths into $out, directory by directory.
set -eu
mkdir -p "$out"

wanted() {
  for w in $pathsToLink; do
    case /$1/ in ${w%/}/*) return 0 ;; esac
  done
  return 1
}

for path in $paths; do
  [ -d "$path" ] || { echo "error: $path is not a directory" >&2; exit 1; }
  (cd "$path" && find . -mindepth 1 ! -type d) | while read -r file; do
    file=${file#./}
    case $file in nix-support/* | propagated-build-inputs) continue ;; esac
    wanted "$file" || continue
    link=$out/$file
    if [ -e "$link" ] || [ -L "$link" ]; then
      if [ "$(readlink -f "$link")" = "$(readlink -f "$path/$file")" ] || [ -n "$ignoreCollisions" ]; then continue; fi
      echo "error: collision between \`$path/$file' and \`$(readlink "$link")'" >&2
      exit 25
    fi
    mkdir -p "${link%/*}"
    ln -s "$path/$file" "$link"
  done
done
eval "$postBuild"
