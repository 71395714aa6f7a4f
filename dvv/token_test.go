package dvv_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cartwheel-db/cartwheel/dvv"
)

var (
	secret = []byte("a secret of the whole cluster")
	cart42 = dvv.Scope{Purpose: dvv.PurposeContext, Type: 1, Bucket: "carts", Key: "42"}
)

func sealer(t testing.TB, secret []byte) dvv.Sealer {
	t.Helper()
	s, err := dvv.NewSealer(secret)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// refused asserts that err is a *TokenError of that reason about that scope.
func refused(t *testing.T, err error, want dvv.Reason, scope dvv.Scope) *dvv.TokenError {
	t.Helper()
	var e *dvv.TokenError
	if !errors.As(err, &e) || e.Reason != want || e.Scope != scope || !errors.Is(err, want) {
		t.Fatalf("got error %v, want one that is %q about %v", err, want, scope)
	}
	return e
}

func TestATokenOpensWhereItWasIssuedOnly(t *testing.T) {
	mine := sealer(t, secret)
	token, err := mine.SealContext(cart42, clk("a:3 b:2 +b:5"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		opens dvv.Sealer
		scope dvv.Scope
		want  dvv.Reason // 0: opens
	}{
		{"its own key", mine, cart42, 0},
		{"another key", mine, dvv.Scope{Purpose: "context", Type: 1, Bucket: "carts", Key: "43"}, dvv.Foreign},
		{"another bucket", mine, dvv.Scope{Purpose: "context", Type: 1, Bucket: "lists", Key: "42"}, dvv.Foreign},
		{"another type", mine, dvv.Scope{Purpose: "context", Type: 2, Bucket: "carts", Key: "42"}, dvv.Foreign},
		{"another purpose", mine, dvv.Scope{Purpose: "cursor", Type: 1, Bucket: "carts", Key: "42"}, dvv.Foreign},
		{"no scope at all", mine, dvv.Scope{}, dvv.Foreign},
		{"names that only look alike when put together", mine, dvv.Scope{Purpose: "context", Type: 1, Bucket: "cart", Key: "s42"}, dvv.Foreign},
		{"another cluster", sealer(t, []byte("the secret of another cluster")), cart42, dvv.Foreign},
		{"the same cluster after a restart", sealer(t, bytes.Clone(secret)), cart42, 0},
		{"a sealer without a secret", dvv.Sealer{}, cart42, dvv.Unkeyed},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.opens.OpenContext(c.scope, token)
			if c.want != 0 {
				_ = refused(t, err, c.want, c.scope)
				if !got.IsEmpty() {
					t.Errorf("refused, and yet %v", got)
				}
				return
			}
			if err != nil || got.String() != "{a:3 b:2 +b:5}" {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

// Tokens that clients already hold must open in every later build.
func TestTokensOfYesterdayStillOpen(t *testing.T) {
	cases := []struct {
		name   string
		scope  dvv.Scope
		clock  string
		secret string
	}{
		{"context of a set", cart42, "a:3 b:2 +b:5", string(secret)},
		{"an empty context", cart42, "", string(secret)},
		{"a session of no key", dvv.Scope{Purpose: dvv.PurposeSession}, "c:70000", string(secret)},
		{"the shortest secret", cart42, "a:1", "0123456789abcdef"},
	}
	var out strings.Builder
	for _, c := range cases {
		token, err := sealer(t, []byte(c.secret)).SealContext(c.scope, clk(c.clock))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s\t%s\n", c.name, token)
	}
	golden(t, "token.golden", out.String())

	held, err := os.ReadFile("testdata/token.golden")
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(strings.TrimSpace(string(held)), "\n") {
		_, token, _ := strings.Cut(line, "\t")
		c := cases[i]
		got, err := sealer(t, []byte(c.secret)).OpenContext(c.scope, token)
		if err != nil || !got.Equal(clk(c.clock)) {
			t.Errorf("%s: got %v, %v", c.name, got, err)
		}
	}
}

func TestDamagedTokensAreRefusedForTheRightReason(t *testing.T) {
	s := sealer(t, secret)
	good, err := s.Seal(cart42, []byte("payload"))
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := base64.RawURLEncoding.DecodeString(good)
	encode := base64.RawURLEncoding.EncodeToString
	changed := func(i int) string {
		b := bytes.Clone(raw)
		b[i] ^= 1
		return encode(b)
	}
	for _, c := range []struct {
		name, token string
		want        dvv.Reason
		says        string
	}{
		{"empty", "", dvv.Malformed, "too short"},
		{"not base64", "not a token!", dvv.Malformed, "illegal base64"},
		{"padded", good + "=", dvv.Malformed, "illegal base64"},
		{"with a line break", good[:9] + "\n" + good[9:], dvv.Malformed, "byte 9"},
		{"one byte too short to be one", encode(raw[:20]), dvv.Malformed, "got 20, limit 21"},
		{"of a later version", changed(0)[:1] + "g" + good[2:], dvv.Version, "limit 1"},
		{"its tag changed", changed(1), dvv.Foreign, "issued for another key"},
		{"its payload changed", changed(5), dvv.Forged, "changed, cut or forged"},
		{"its signature changed", changed(len(raw) - 1), dvv.Forged, "changed, cut or forged"},
		{"cut by a byte", encode(raw[:len(raw)-1]), dvv.Forged, "changed, cut or forged"},
		{"cut to nothing but a head", encode(raw[:21]), dvv.Forged, "changed, cut or forged"},
		{"grown by a byte", encode(append(bytes.Clone(raw), 0)), dvv.Forged, "changed, cut or forged"},
		{"longer than any token", strings.Repeat("A", dvv.MaxTokenLen+1), dvv.Oversized, "got 65537, limit 65536"},
		{"as long as the longest", strings.Repeat("A", dvv.MaxTokenLen), dvv.Version, "limit 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			payload, err := s.Open(cart42, c.token)
			_ = refused(t, err, c.want, cart42)
			if !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), `"carts"/"42"`) {
				t.Errorf("the message %q should say %q and name the key", err, c.says)
			}
			if payload != nil {
				t.Errorf("refused, and yet %q", payload)
			}
		})
	}
}

func TestNoBitOfATokenMayChange(t *testing.T) {
	s := sealer(t, secret)
	good, err := s.SealContext(cart42, clk("a:3 b:2 +b:5"))
	if err != nil {
		t.Fatal(err)
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for i := range good {
		for _, r := range alphabet {
			if bad := good[:i] + string(r) + good[i+1:]; bad != good {
				if got, err := s.OpenContext(cart42, bad); err == nil {
					t.Fatalf("character %d changed from %c to %c, and it opens as %v", i, good[i], r, got)
				}
			}
		}
	}
}

func TestASoundTokenAroundSomethingElseIsNoContext(t *testing.T) {
	s := sealer(t, secret)
	for _, payload := range []string{"", "text", "\x00trailing"} {
		token, err := s.Seal(cart42, []byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.OpenContext(cart42, token)
		_ = refused(t, err, dvv.Malformed, cart42)
		if cause := new(dvv.DecodeError); !errors.As(err, &cause) || !got.IsEmpty() {
			t.Errorf("payload %q: got %v, %v", payload, got, err)
		}
	}
}

func TestTheLargestTokenFitsAndOneByteMoreIsRefused(t *testing.T) {
	s := sealer(t, secret)
	payload := bytes.Repeat([]byte{7}, dvv.MaxTokenPayload)
	token, err := s.Seal(cart42, payload)
	if err != nil || len(token) != dvv.MaxTokenLen {
		t.Fatalf("got %d characters, %v", len(token), err)
	}
	if got, err := s.Open(cart42, token); err != nil || !bytes.Equal(got, payload) {
		t.Fatalf("got %d bytes, %v", len(got), err)
	}
	_, err = s.Seal(cart42, append(payload, 7))
	e := refused(t, err, dvv.Oversized, cart42)
	if !errors.Is(err, dvv.ErrTokenTooLarge) || e.Got != dvv.MaxTokenPayload+1 || e.Limit != dvv.MaxTokenPayload {
		t.Errorf("the numbers are wrong: %v", err)
	}
	var gaps dvv.Clock
	for i := range uint64(30_000) {
		gaps.AddRange(1, 2*i+1, 2*i+1)
	}
	_, err = s.SealContext(cart42, gaps)
	_ = refused(t, err, dvv.Oversized, cart42)
}

func TestSecretsAreLongEnoughAndNeverShown(t *testing.T) {
	_, err := dvv.NewSealer(secret[:dvv.MinSecretLen-1])
	if e := refused(t, err, dvv.Unkeyed, dvv.Scope{}); e.Got != 15 || e.Limit != 16 {
		t.Errorf("the numbers are wrong: %v", err)
	}
	if _, err := (dvv.Sealer{}).Seal(cart42, nil); !errors.Is(err, dvv.Unkeyed) {
		t.Errorf("the zero Sealer sealed: %v", err)
	}
	holder := struct{ inside dvv.Sealer }{sealer(t, secret)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%x"} {
		// A pointer is at most 16 digits; a key would be 32 numbers.
		if got := fmt.Sprintf(verb, holder); len(got) > 150 || strings.Contains(got, "[") {
			t.Errorf("printing a Sealer with %s shows %s", verb, got)
		}
	}
	kept := bytes.Clone(secret)
	s := sealer(t, kept)
	token, _ := s.Seal(cart42, nil)
	clear(kept) // the caller may wipe it
	if _, err := s.Open(cart42, token); err != nil {
		t.Errorf("the sealer keeps the caller's slice: %v", err)
	}
}

func TestAppendingToAPayloadStaysOutside(t *testing.T) {
	s := sealer(t, secret)
	token, _ := s.Seal(cart42, []byte("abc"))
	got, err := s.Open(cart42, token)
	if err != nil || cap(got) != len(got) {
		t.Errorf("payload %q has %d spare bytes, %v", got, cap(got)-len(got), err)
	}
}

func TestScopesAreToldApart(t *testing.T) {
	s := sealer(t, secret)
	part := rapid.StringMatching("[ab\x00\x01]{0,3}") // short and alike, so that shifted borders occur
	scope := rapid.Custom(func(t *rapid.T) dvv.Scope {
		return dvv.Scope{Purpose: part.Draw(t, "purpose"), Type: uint8(rapid.IntRange(0, 2).Draw(t, "type")),
			Bucket: part.Draw(t, "bucket"), Key: part.Draw(t, "key")}
	})
	rapid.Check(t, func(t *rapid.T) {
		x, y := scope.Draw(t, "issued for"), scope.Draw(t, "used for")
		payload := rapid.SliceOf(rapid.Byte()).Draw(t, "payload")
		token, err := s.Seal(x, payload)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.Open(x, token); err != nil || !bytes.Equal(got, payload) {
			t.Fatalf("its own scope %v: %q, %v", x, got, err)
		}
		if got, err := s.Open(y, token); (err == nil) != (x == y) {
			t.Fatalf("issued for %v, used for %v: %q, %v", x, y, got, err)
		}
	})
}

func FuzzOpen(f *testing.F) {
	s := sealer(f, secret)
	context, _ := s.SealContext(cart42, clk("a:3 b:2 +b:5"))
	issued := map[string]bool{context: true}
	for _, payload := range []string{"", "text"} {
		token, _ := s.Seal(cart42, []byte(payload))
		issued[token] = true
	}
	for token := range issued {
		f.Add(token)
		f.Add(token[:len(token)-2])
	}
	f.Add(strings.Repeat("A", dvv.MaxTokenLen+1))
	f.Add("AQ\nAA")
	f.Fuzz(func(t *testing.T, token string) {
		var payload []byte
		var err error
		if got := allocated(func() { payload, err = s.Open(cart42, token) }); got > 1<<20 {
			t.Fatalf("%d characters in, %d bytes allocated", len(token), got)
		}
		if (err == nil) != issued[token] {
			t.Fatalf("token %q: payload %q, %v", token, payload, err)
		}
		_, _ = s.OpenContext(cart42, token)
	})
}
