# Makes a package of the build machine's own files.
# $rows has a line kind|output|sha256|from|to per file and link,
# $libraryPath_<output> the directories that the output's programs find libraries in.
set -eu
umask 022

for tool in patchelf sha256sum; do
  command -v $tool >/dev/null || {
    echo "$name can only come from the binary cache: it is made of a Debian system's files" >&2
    exit 1
  }
done

# script FILE LINE...: an executable that the store's bash runs.
script() {
  file=$1
  shift
  printf '%s\n' "#!$shell" "$@" > "$file"
  chmod 0555 "$file"
}

# foreign_elf FILE KIND TEXT: a shared object for aarch64 with a true ELF header
# (and, if a program, the name of its loader), with TEXT in place of code.
foreign_elf() {
  interpreter=$glibc/lib/$loader
  headers=1
  [ "$2" = program ] || headers=0 interpreter=
  size=$(printf '\\%03o' $((${#interpreter} + 1)))
  {
    printf '\177ELF\2\1\1\0\0\0\0\0\0\0\0\0\3\0\267\0\1\0\0\0'
    printf '\0\0\0\0\0\0\0\0\100\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0'
    printf "\\0\\0\\0\\0\\100\\0\\70\\0\\$headers\\0\\100\\0\\0\\0\\0\\0"
    printf '\3\0\0\0\4\0\0\0\170\0\0\0\0\0\0\0\170\0\0\0\0\0\0\0\170\0\0\0\0\0\0\0'
    printf "$size\\0\\0\\0\\0\\0\\0\\0$size\\0\\0\\0\\0\\0\\0\\0\\1\\0\\0\\0\\0\\0\\0\\0"
    printf '%s\0' "$interpreter"
    printf '%s\n' "$3"
  } > "$1"
}

# The builder alone knows where the package's own outputs are, for which Nix wrote @output@.
for output in $outputs; do
  eval "path=\$libraryPath_$output"
  for o in $outputs; do
    eval "prefix=\$$o"
    case $path in *"@$o@"*) path=$(printf %s "$path" | sed "s|@$o@|$prefix|g") ;; esac
  done
  eval "libraryPath_$output=\$path; mkdir -p \$$output"
done

tmp=$NIX_BUILD_TOP
: > "$tmp/sums" > "$tmp/executable"

printf '%s\n' "$rows" | while IFS='|' read -r kind output sum from to; do
  [ -n "$kind" ] || continue
  eval "prefix=\$$output"
  file=$prefix/$to
  [ -d "${file%/*}" ] || mkdir -p "${file%/*}"
  if [ "$kind" = link ]; then
    ln -s "$from" "$file"
    continue
  fi
  [ "$kind" = data ] || printf '%s\n' "$file" >> "$tmp/executable"
  case $foreign$kind in
    1program | 1library | 1loader)
      eval "path=\$libraryPath_$output"
      foreign_elf "$file" "$kind" "$pname: $to, a stand-in that does not run
runpath: $path"
      continue
      ;;
  esac
  cp -L "$from" "$file"
  printf '%s  %s\n' "$sum" "$file" >> "$tmp/sums"
  printf '%s\n' "$file" >> "$tmp/$kind.$output"
done

[ ! -s "$tmp/sums" ] || sha256sum --check --strict --quiet "$tmp/sums" || {
  echo "$name: these files are not those of pkgs/manifest.json" >&2
  exit 1
}

for output in $outputs; do
  eval "path=\$libraryPath_$output"
  if [ -e "$tmp/program.$output" ]; then
    xargs patchelf --set-interpreter "$glibc/lib/$loader" --set-rpath "$path" < "$tmp/program.$output"
  fi
  if [ -e "$tmp/library.$output" ]; then
    xargs patchelf --set-rpath "$path" < "$tmp/library.$output"
  fi
  if [ -e "$tmp/script.$output" ]; then
    xargs sed -i "1s|^#! *\(/usr\)\{0,1\}/bin/\(ba\)\{0,1\}sh|#!$shell|" < "$tmp/script.$output"
  fi
done
xargs -r chmod 0555 < "$tmp/executable"

if [ -n "$patchLevel" ] && [ "$patchLevel" != 0 ]; then
  first=${outputs%% *}
  eval "prefix=\$$first"
  mkdir -p "$prefix/share/doc/$pname"
  echo "$pname, patch level $patchLevel" > "$prefix/share/doc/$pname/patch-level"
fi
eval "$install"
: # the shell is to outlive the last program, see runCommand
