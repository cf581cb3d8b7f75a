package seal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"yizheng/seal/ses"
)

// resealed puts a seal of another version into the city's registry.
func (c *city) resealed(v ses.Version) {
	c.t.Helper()
	c.seal = c.otherSeal(func(o *SealOrder) { o.Version = v })
	c.ok(os.WriteFile(filepath.Join(c.dir, "mz", sealFile), c.seal, 0o600))
}

func TestSign_WritesTheVersionOfTheSealAndItVerifies(t *testing.T) {
	for _, tt := range []struct {
		version ses.Version
		profile Profile
	}{{ses.V1, ""}, {ses.V1, ProfileDB37}, {ses.V4, ""}, {ses.V5, ""}} {
		c := newCity(t)
		c.resealed(tt.version)
		file, _, err := c.registry(RegistryOptions{Trust: c.trust(), Profile: tt.profile}).Sign(context.Background(), "mz", c.draft(signed), signed)
		c.ok(err)
		if r := Verify(file, c.trust(), now); !r.Overall || r.Standard != tt.version.Standard() || !r.SigningTime.Equal(signed) {
			t.Errorf("version %d, profile %q: %s %+v", tt.version, tt.profile, r.Standard, r.Checks)
		}
	}
}

func TestOpenRegistry_ProfileRefusesOtherSeals(t *testing.T) {
	c := newCity(t)
	for profile, says := range map[Profile]string{ProfileDB37: "GM/T 0031-2014", "db99": "unknown profile"} {
		_, err := OpenRegistry(c.dir, RegistryOptions{Profile: profile})
		if !errors.Is(err, ErrMaterial) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", profile, err)
		}
	}
}
