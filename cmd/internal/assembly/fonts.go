package assembly

import (
	"fmt"

	"yizheng/seal/pdf"
)

// FontsConfig names TrueType fonts; a character none of them has is refused,
// never printed as a box. A front that seals has the same fonts as the gateway.
type FontsConfig struct {
	Body      string   `yaml:"body"`
	Fallbacks []string `yaml:"fallbacks"`
}

// Paths are the settings that are files.
func (c *FontsConfig) Paths() []*string {
	paths := []*string{&c.Body}
	for i := range c.Fallbacks {
		paths = append(paths, &c.Fallbacks[i])
	}
	return paths
}

// Open opens the fonts. The renderer is good until closers close.
func (c *FontsConfig) Open(closers *Closers) (*pdf.Renderer, error) {
	fonts, err := pdf.LoadFonts(c.Body, c.Fallbacks)
	if err != nil {
		return nil, fmt.Errorf("字体不可用，见 README“字体” / fonts: %w", err)
	}
	closers.OnClose(fonts.Close)
	renderer, err := pdf.NewRenderer(fonts)
	if err != nil {
		return nil, fmt.Errorf("renderer: %w", err)
	}
	return renderer, nil
}
