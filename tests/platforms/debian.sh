# What the scripts have in common that boot an emulated machine with Debian's kernels and programs. To be sourced, with
# `cache` set to a folder in which what is brought stays.

skip() {
    echo "skipped: $*" >&2
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
}

needs() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || skip "there is no $tool; the comment at the top says what is needed"
    done
}

# apt with lists and sources of its own, as if nothing were installed.
apt_of_target() {
    apt-get --config-file "$cache/apt/apt.conf" "$@"
}

cache_of_target() {
    APT_CONFIG=$cache/apt/apt.conf apt-cache "$@"
}

# For a machine of this kind, with the packages of these suites.
configure_apt() {
    local architecture=$1 mirror suite
    shift
    mkdir -p "$cache"/apt/{lists,cache/archives}/partial
    : >"$cache/apt/status"
    cat >"$cache/apt/apt.conf" <<CONF
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear Acquire::IndexTargets::deb::DEP-11;
Dir::State "$cache/apt";
Dir::State::status "$cache/apt/status";
Dir::Cache "$cache/apt/cache";
Dir::Etc::sourcelist "$cache/apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Acquire::Languages "none";
APT::Architecture "$architecture";
APT::Architectures { "$architecture"; };
APT::Sandbox::User "root";
Debug::NoLocking "1";
CONF
    # The mirror that this machine uses.
    mirror=$(apt-get update --print-uris | sed -nE "s#^'([^']+)/dists/[a-z]+/InRelease'.*#\1#p" | head -n 1)
    for suite in "$@"; do
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
    done >"$cache/apt/sources.list"
    apt_of_target update >"$cache/apt/update.log"
}

# Brings these packages and all that they need, into debs/root.
download_root() {
    local -a names
    mkdir -p "$cache/debs/root"
    mapfile -t names < <(apt_of_target install --simulate --no-install-recommends "$@" |
        sed -n 's/^Inst \([^ ]*\) .*/\1/p')
    # Where they contradict each other there are none.
    ((${#names[@]})) || return 1
    (cd "$cache/debs/root" && apt_of_target download "${names[@]}")
}

# Makes a file system of them, root.cpio.
unpack_root() {
    local deb root=$cache/root
    rm -rf "$root"
    mkdir -p "$root"/usr/{bin,sbin,lib,lib64}
    # Of a system these links come with a package that is not among ours.
    ln -s usr/bin usr/sbin usr/lib usr/lib64 "$root"
    for deb in "$cache"/debs/root/*.deb; do
        # Links such as /lib stay what they are where a package has a folder of that name.
        dpkg-deb --fsys-tarfile "$deb" | tar -x --keep-directory-symlink -C "$root"
    done
    rm -rf "$root"/usr/share/{doc,man,locale,zoneinfo,info} "$root"/usr/lib/python3.*/{test,idlelib,lib2to3}
    (cd "$root" && find . -print0 | cpio --quiet --null -o -H newc) >"$cache/root.cpio.part"
    mv "$cache/root.cpio.part" "$cache/root.cpio"
    rm -rf "$root"
}

# Puts a folder behind root.cpio: what changes from run to run.
pack_initrd() {
    (cd "$1" && find . -print0 | cpio --quiet --null -o -H newc) >"$cache/extra.cpio"
    rm -rf "$1"
    cat "$cache/root.cpio" "$cache/extra.cpio" >"$cache/initrd"
}
