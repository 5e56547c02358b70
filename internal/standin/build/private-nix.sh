# usage: private-nix.sh ROOT NIX COMMAND ARGUMENT...
# Runs a command that sees the folder NIX as /nix, whatever the machine has there.
# Wants a mount namespace of its own; the mounts end with it.
set -eu
root=$1 nix=$2
shift 2
here=$(pwd)

mount -t tmpfs -o mode=755 standin "$root"
mount --make-unbindable "$root" # or binding the folder it is in would copy it into itself
for path in /* /.[!.]*; do
  case $path in /nix | /\*) continue ;; esac
  if [ -L "$path" ]; then
    cp -P "$path" "$root$path"
  elif [ -d "$path" ]; then
    mkdir "$root$path"
    mount --rbind "$path" "$root$path"
  elif [ -e "$path" ]; then
    : > "$root$path"
    mount --bind "$path" "$root$path"
  fi
done
mkdir "$root/nix"
mount --bind "$nix" "$root/nix"
exec chroot "$root" /bin/sh -c 'cd "$1" && shift && exec "$@"' sh "$here" "$@"
