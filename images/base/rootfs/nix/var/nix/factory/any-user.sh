# shellcheck shell=bash
# Read by the scripts in /nix/profile/bin that start a program for whoever calls it. They have
# set program to its path. Root, in a container that can be written to, needs none of this.

# Some programs want a name, and no runtime sets one.
if ((EUID == 0)); then
	export USER=${USER:-root}
elif [[ -z ${USER-} ]]; then
	USER=$(id -un 2>/dev/null) || USER=user$EUID
	export USER
fi

is_own() { [[ -d $1 && -O $1 && -w $1 ]]; }

# Nix wants a home folder that belongs to the user, and keeps a cache in it. A user who is not
# in /etc/passwd is given / by most runtimes.
find_home() {
	local entry dir
	if is_own "${HOME-}" || { [[ ${HOME-} && ! -e $HOME ]] && mkdir -p -- "$HOME" 2>/dev/null; }; then
		return
	fi
	while IFS=: read -r _ _ entry _ _ dir _; do
		if [[ $entry == "$EUID" ]] && is_own "$dir"; then
			export HOME=$dir
			return
		fi
	done </etc/passwd
	for dir in "${TMPDIR:-/tmp}" /tmp /dev/shm; do
		dir=$dir/home-$EUID
		mkdir -m 0700 -- "$dir" 2>/dev/null
		if [[ ! -L $dir ]] && is_own "$dir"; then
			export HOME=$dir
			return
		fi
	done
	export HOME=/homeless # one that is not there does for most of what Nix does
}

# A store that cannot be written to can be read all the same.
read_only() {
	local version major minor
	version=$("$1" --version 2>/dev/null)
	version=${version##* }
	IFS=. read -r major minor _ <<<"$version"
	if ((${major//[!0-9]/} > 2 || ${minor//[!0-9]/} >= 17)); then
		export NIX_REMOTE='local?read-only=true'
		export NIX_CONFIG="${NIX_CONFIG-}
extra-experimental-features = read-only-local-store"
	elif ((EUID)) && [[ -z ${NIX_STATE_DIR-} ]]; then
		copy_state
	fi
}

# Older versions write to what they know of the store even to read it: they get a copy.
copy_state() {
	local from=/nix/var/nix to=$HOME/.cache/nix-state new
	if [[ ! -e $to/db/db.sqlite || $from/db/db.sqlite -nt $to/db/db.sqlite ]]; then
		mkdir -p -- "${to%/*}" && new=$(mktemp -d "$to.XXXXXX") || return
		if ! cp -r --no-preserve=all -t "$new" "$from"/{db,profiles,gcroots} 2>/dev/null; then
			rm -rf -- "$new"
			return
		fi
		rm -rf -- "$to"
		mv -T -- "$new" "$to" 2>/dev/null || rm -rf -- "$new" # another process was faster
	fi
	export NIX_STATE_DIR=$to NIX_LOG_DIR=$to/log
}

# shellcheck disable=SC2154 # program comes from the script that reads this
if ((EUID)) || [[ ! -w /nix/var/nix/db ]]; then
	find_home
	if [[ -w /nix/var/nix/db && -w /nix/store ]]; then
		# The store is the user's, then so is the profile that is on PATH.
		if [[ -w /nix/var/nix/profiles && ! -L $HOME/.nix-profile ]]; then
			ln -s /nix/var/nix/profiles/default "$HOME/.nix-profile" 2>/dev/null
		fi
	elif [[ -z ${NIX_REMOTE-} && ! -S /nix/var/nix/daemon-socket/socket && -x ${program%/*}/nix ]]; then
		read_only "${program%/*}/nix"
	fi
fi
