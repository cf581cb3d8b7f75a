package jose

import "testing"

func TestUnmarshalTakesOneKnownValueOnly(t *testing.T) {
	for name, payload := range map[string]string{
		"an unknown member": `{"v":1,"w":2}`,
		"another value":     `{"v":1}{"v":2}`,
		"rubbish behind":    `{"v":1}]`,
		"cut short":         `{"v":1`,
		"nothing":           ``,
		"another type":      `{"v":"1"}`,
	} {
		var into struct {
			V int `json:"v"`
		}
		if err := Unmarshal([]byte(payload), &into); err == nil {
			t.Errorf("%s: accepted as %+v", name, into)
		}
	}
	var into struct {
		V int `json:"v"`
	}
	if err := Unmarshal([]byte("{\"v\":1}\n"), &into); err != nil || into.V != 1 {
		t.Errorf("%+v, %v", into, err)
	}
}

// SM3 of "abc" is in GB/T 32905-2016 A.1.
func TestDigestIsSM3(t *testing.T) {
	if got, want := Digest("abc"), "Zsfw9GLu7dnR8tRr3BDk4kFnxIdc8veiKX2gK49LqOA"; got != want {
		t.Errorf("%s, not %s", got, want)
	}
}
