package revocation

// ReadOCSPForTest reads an OCSPResponse that nobody asked for.
func ReadOCSPForTest(raw []byte) error {
	basic, err := unwrapOCSP(raw)
	if err != nil {
		return err
	}
	_, err = parseBasic(basic)
	return err
}
