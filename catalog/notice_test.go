package catalog

import "testing"

func TestOnlyACodeAndAVersionAreANotice(t *testing.T) {
	for s, want := range map[string]bool{
		"N-PRH@3": true, "N-PRH@9999": true,
		"": false, "N-PRH": false, "@3": false, "N-PRH@": false, "N-PRH@0": false, "N-PRH@03": false, "N-PRH@10000": false, "N-PRH@3@4": false,
		"n-prh@3": false, "N PRH@3": false, "N-PRH@3\n": false, "告知@3": false, "690102198503120016@1": false, "N-690102198503120016@1": false,
	} {
		n, ok := ParseNotice(s)
		if ok != want || ok && n.String() != s {
			t.Errorf("%q: %v %v", s, n, ok)
		}
	}
}

func FuzzParseNotice(f *testing.F) {
	f.Add("N-PRH@3")
	f.Fuzz(func(t *testing.T, s string) {
		if n, ok := ParseNotice(s); ok && n.String() != s {
			t.Errorf("%q is %q", s, n)
		}
	})
}

func TestTheNoticeOfAnItemIsOptionalAndStrict(t *testing.T) {
	with := func(notice string) edit {
		return edit{matters, "    roles: [applicant, spouse]\n    situations", "    roles: [applicant, spouse]\n    notice: " + notice + "\n    situations"}
	}
	if it, _ := mustLoad(t).Item("PRH"); it.Notice != (Notice{}) {
		t.Errorf("%v", it.Notice)
	}
	if it, _ := mustLoad(t, with("{id: N-PRH, version: 3}")).Item("PRH"); it.Notice.String() != "N-PRH@3" {
		t.Errorf("%v", it.Notice)
	}
	for _, bad := range []string{"{id: N-PRH}", "{version: 3}", "{id: N-PRH, version: 0}", "{id: N-PRH, version: 10000}", "{id: n-prh, version: 1}",
		"{id: N-PRH, version: \"3\"}", "{id: \"690102198503120016\", version: 1}", "{}"} {
		if _, err := Load(city(t, with(bad)), Options{}); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}
