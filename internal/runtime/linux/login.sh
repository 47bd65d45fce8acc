# Makes the environment $1 the one that is found where PATH was made anew: by
# login shells, and, below /usr/local, by whatever has the system's own PATH.
mkdir -p /etc/profile.d
cat >/etc/profile.d/zz-seer-python.sh <<END
PATH=$1/bin:\$PATH
export PATH
END
for name in python python3 pip pip3; do
	rm -f "/usr/local/bin/$name" # it may be a link
	printf '#!/bin/sh\nexec %s/bin/%s "$@"\n' "$1" "$name" >"/usr/local/bin/$name"
	chmod 755 "/usr/local/bin/$name"
done
