set -e
missing=
for package do
	[ "$(dpkg-query --show --showformat='${db:Status-Abbrev}' -- "$package" 2>/dev/null)" = "ii " ] || missing=yes
done
[ -n "$missing" ] || exit 0
apt-get update
DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends -- "$@"
rm -rf /var/lib/apt/lists/*
