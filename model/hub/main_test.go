package hub

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(childTask) != "" {
		runChild()
		return
	}
	goleak.VerifyTestMain(m)
}
