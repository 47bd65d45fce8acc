package seer

import (
	"cmp"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
)

// passedOn are the variables of this program that programs of its user need.
// All others, secrets among them, stay here.
var passedOn = []string{
	"HOME", "USER", "LOGNAME", "SHELL", "TERM", "TZ", "LANG", "LANGUAGE", "TMPDIR", "TEMP", "TMP",
	"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NO_PROXY", "no_proxy",
	"PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "CUDA_HOME", "CUDA_VISIBLE_DEVICES",
	"VIRTUAL_ENV", "PYTHONHOME", "PYTHONUTF8", "PYENV_ROOT", "PYENV_VERSION",
	"SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "PROGRAMFILES",
}

// passedPrefixes are families of such variables.
var passedPrefixes = []string{"LC_", "XDG_", "CONDA_"}

// localEnviron is the environment of a session's interpreter on this machine.
func localEnviron(o LocalOptions, libraries string) ([]string, error) {
	secretFile, err := newSecretSource(o.EnvFile, cmp.Or(o.Logger, slog.Default()))
	if err != nil {
		return nil, err
	}
	base := map[string]string{
		"PYTHONPATH": libraries,
		"MPLBACKEND": "agg", // figures are outputs, not windows
	}
	for _, pair := range inherited(o) {
		name, value, _ := strings.Cut(pair, "=")
		if name != "PYTHONPATH" && !passes(name) || secretFile.defines(name) {
			continue
		}
		if name == "PYTHONPATH" && value != "" {
			base[name] += string(os.PathListSeparator) + value
		} else {
			base[name] = value
		}
	}
	secrets := map[string]string{}
	for _, name := range o.Secrets {
		value, ok := secretFile.lookup(name)
		if !ok {
			why := secretFile.trouble()
			if why != "" {
				why = " (" + why + ")"
			}
			return nil, fmt.Errorf("secret %s is neither in the environment nor in .env%s: %w", name, why, ErrNotFound)
		}
		secrets[name] = value
	}
	return mergeEnv(base, o.Env, secrets), nil
}

// inherited are the variables of this program that may be passed on.
func inherited(o LocalOptions) []string {
	if o.Isolated {
		return nil // they tell of this machine
	}
	return os.Environ()
}

func passes(name string) bool {
	return slices.Contains(passedOn, strings.ToUpper(name)) || slices.Contains(passedOn, name) ||
		slices.ContainsFunc(passedPrefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}
