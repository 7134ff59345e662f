package hlo_test

import (
	"testing"

	"gorun/csrc/device/devicetest"
)

func TestMain(m *testing.M) { devicetest.Main(m) }
