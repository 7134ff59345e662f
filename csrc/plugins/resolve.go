package plugins

import "strings"

// IsDemo tells whether a model's name is that of a demo model, such as "demo:smollm2-135m".
func IsDemo(model string) bool { return strings.HasPrefix(model, demoStart) }

// Resolve turns the name of a demo model into the path of its installed file; any other model comes back as it is. A
// demo model that is not installed is an error that wraps ErrMissing and says the command that installs it.
func Resolve(model string) (string, error) {
	if !IsDemo(model) {
		return model, nil
	}
	return Installed(model)
}

// Installed returns the path of what Install put into the cache under the name, or an error that wraps ErrMissing.
func Installed(name string) (string, error) {
	s, err := defaultStore()
	if err != nil {
		return "", err
	}
	it, err := s.lookup(name)
	if err != nil {
		return "", err
	}
	path, err := s.installed(it)
	for second := it.fallback; err != nil && second != nil; second = second.fallback {
		if found, secondErr := s.installed(*second); secondErr == nil {
			return found, nil
		}
	}
	return path, err
}

// SetupCommand is the command that installs what has the name, for messages.
func SetupCommand(name string) string { return pinned[name].setup }
