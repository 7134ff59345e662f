package rank

import (
	"errors"
	"fmt"

	"gorun/configs"
)

// Resource is a kind of thing that a recipe names.
type Resource string

// The resources of a recipe.
const (
	ModelResource   Resource = "model" // a base or an adapter
	DatasetResource Resource = "dataset"
)

// Resolve turns the name of a resource into the path of its file or folder: a path is itself, and what a recipe names
// by an id is where it is kept, fetched if need be. revision is "" unless the recipe pins one.
type Resolve func(what Resource, name, revision string) (path string, err error)

// located is where things that a recipe names are.
type located struct {
	base, adapter string            // adapter is "" if the run starts from none
	data          map[source]string // of datasets that have a name
}

type source struct{ name, revision string }

// locate finds everything that the recipe names, and reports all that it does not find.
func locate(r *configs.Recipe, names []string, resolve Resolve) (l located, err error) {
	var errs []error
	find := func(field string, what Resource, name, revision string) string {
		if name == "" {
			return ""
		}
		path, err := resolve(what, name, revision)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", field, err))
		}
		return path
	}
	l = located{
		base:    find("model.pretrained_model_name_or_path", ModelResource, r.Model.PretrainedModelNameOrPath, r.Model.Revision),
		adapter: find("peft.init_from", ModelResource, r.PEFT.InitFrom, ""),
		data:    map[source]string{},
	}
	dataset := func(field string, c configs.Dataset) {
		s := source{c.PathOrID, c.Revision}
		if _, ok := l.data[s]; !ok {
			l.data[s] = find(field, DatasetResource, c.PathOrID, c.Revision)
		}
	}
	dataset("dataset.path_or_id", r.Dataset)
	for _, name := range names {
		dataset(setField(name)+".path_or_id", r.ValidationDataset[name])
	}
	return l, errors.Join(errs...)
}

// setField is the recipe's name of a validation set.
func setField(name string) string {
	if name == configs.DefaultSet {
		return "validation_dataset"
	}
	return "validation_dataset." + name
}

// local is a data set of the recipe with the path of its data instead of its name.
func (l located) local(c configs.Dataset) configs.Dataset {
	if path := l.data[source{c.PathOrID, c.Revision}]; path != "" {
		c.PathOrID = path
	}
	return c
}
