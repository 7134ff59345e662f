package hub

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// errStranger says that a connection's other end does not hold the run's key.
var errStranger = errors.New("it does not hold this run's key")

// peerTLS is how the nodes of a run talk, as servers and as clients. All of them hold one secret, and of it each derives
// the same key pair: who can show the certificate of that pair is one of them. TLS 1.3 has both ends prove it and encrypts
// what they say, so there is no protocol of gorun's own, and nothing of it is secret but the key.
func peerTLS(key []byte) (*tls.Config, error) {
	seed, err := hkdf.Key(sha256.New, key, nil, "gorun files", ed25519.SeedSize)
	if err != nil {
		return nil, fmt.Errorf("a key for the files of a run: %w", err)
	}
	private := ed25519.NewKeyFromSeed(seed)
	public := private.Public().(ed25519.PublicKey)
	// Clocks of nodes may differ, and who holds the key is one of them at any time.
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		return nil, fmt.Errorf("a certificate for the files of a run: %w", err)
	}
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: private}},
		ClientAuth:             tls.RequireAnyClientCert,
		InsecureSkipVerify:     true, // names and authorities say nothing here: VerifyConnection compares the key
		SessionTicketsDisabled: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 || !public.Equal(s.PeerCertificates[0].PublicKey) {
				return errStranger
			}
			return nil
		},
	}, nil
}
