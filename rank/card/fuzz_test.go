package card

import "testing"

// FuzzLicenseOf: a stranger's card is read without harm, and what it says goes into another card as it was.
func FuzzLicenseOf(f *testing.F) {
	f.Add([]byte("---\nlicense: mit\n---\n"))
	f.Add([]byte("---\nlicense: other\nlicense_name: \"x: y\\n---\"\nlicense_link: '#'\n---\n"))
	f.Add([]byte("---\nlicense: &a [*a, *a]\n---\n"))
	f.Add([]byte("---\r\nlicense: ~\r\n---"))
	f.Fuzz(func(t *testing.T, card []byte) {
		want := LicenseOf(card)
		text, err := front{License: want, Tags: []string{"x"}}.text()
		if err != nil {
			t.Fatal(err)
		}
		if got := LicenseOf([]byte("---\n" + text + "---\n")); got != want {
			t.Errorf("%+v became %+v by\n%s", want, got, text)
		}
	})
}
