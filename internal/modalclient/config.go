package modalclient

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/pelletier/go-toml/v2"
)

const (
	defaultBuilderVersion = "2025.06"
	localEnvironment      = "main"
)

// Config says which server to talk to and as whom. Its zero value is Modal,
// with the credentials that modal-go finds.
type Config struct {
	// ServerURL is "" for Modal: then MODAL_* variables and the user's
	// .modal.toml count. Otherwise only this server is called ("http://HOST:PORT"),
	// and neither a variable nor a file changes that.
	ServerURL string
	// TokenID and TokenSecret are "" to take those of the user's profile.
	TokenID, TokenSecret string
	// Environment is "" for the profile's, or "main" with a ServerURL.
	Environment string
	// PlainTunnels makes the URLs of tunnels http:// instead of https://.
	PlainTunnels bool
	// BuilderVersion is "" for the profile's image builder version, else 2025.06.
	BuilderVersion string
	// Patience is the zero value for the defaults.
	Patience Patience
	// Logger is nil to log nothing.
	Logger *slog.Logger
}

// HasCredentials reports whether modal-go would find a token for Modal in the
// environment or the user's profile. A profile file that cannot be read counts
// as one, so that New says what is wrong with it.
func HasCredentials() bool {
	p, err := lookupProfile()
	return err != nil || p.TokenID != "" && p.TokenSecret != ""
}

// profile is the part of a profile that modal-go keeps to itself.
type profile struct {
	ServerURL           string `toml:"server_url,omitempty"`
	TokenID             string `toml:"token_id,omitempty"`
	TokenSecret         string `toml:"token_secret,omitempty"`
	Environment         string `toml:"environment,omitempty"`
	ImageBuilderVersion string `toml:"image_builder_version,omitempty"`
	Active              bool   `toml:"active,omitempty"`
}

// lookupProfile follows modal-go's rules: MODAL_PROFILE or the active profile
// of the file, overridden by one variable per setting.
func lookupProfile() (profile, error) {
	profiles, err := readProfiles()
	if err != nil {
		return profile{}, err
	}
	name := os.Getenv("MODAL_PROFILE")
	if name == "" {
		for _, candidate := range slices.Sorted(maps.Keys(profiles)) {
			if profiles[candidate].Active {
				name = candidate
				break
			}
		}
	}
	p := profiles[name]
	for variable, field := range map[string]*string{
		"MODAL_SERVER_URL":            &p.ServerURL,
		"MODAL_TOKEN_ID":              &p.TokenID,
		"MODAL_TOKEN_SECRET":          &p.TokenSecret,
		"MODAL_ENVIRONMENT":           &p.Environment,
		"MODAL_IMAGE_BUILDER_VERSION": &p.ImageBuilderVersion,
	} {
		if value := os.Getenv(variable); value != "" {
			*field = value
		}
	}
	return p, nil
}

func readProfiles() (map[string]profile, error) {
	path := os.Getenv("MODAL_CONFIG_PATH")
	if path == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, fmt.Errorf("find .modal.toml: %w", err)
		}
		path = filepath.Join(home, ".modal.toml")
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read Modal profile: %w", err)
	}
	var profiles map[string]profile
	if err := toml.Unmarshal(text, &profiles); err != nil {
		// The parser quotes the line it stumbles over, which may hold the token.
		return nil, fmt.Errorf("read Modal profile: %s is not valid TOML", path)
	}
	return profiles, nil
}

// encodeProfiles writes the profile under every name that modal-go may look for.
func encodeProfiles(p profile) ([]byte, error) {
	p.Active = true
	profiles := map[string]profile{"seer": p}
	if name := os.Getenv("MODAL_PROFILE"); name != "" {
		profiles[name] = p
	}
	return toml.Marshal(profiles)
}

// decode fills a value of a type that its package does not export, which is
// what modal.ClientParams.Config points to.
func decode[T any](_ *T, text []byte) (*T, error) {
	out := new(T)
	if err := toml.Unmarshal(text, out); err != nil {
		return nil, err
	}
	return out, nil
}
