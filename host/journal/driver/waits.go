package driver

import (
	"encoding/json"
	"time"
)

// Waits is what a run that is suspended waits for. A backend finds runs by it in no time, however many wait: by one of the keys, or by
// the time.
type Waits struct {
	Keys  []string  // of events; each once
	Until time.Time // when it goes on without them, to the microsecond; zero: never
	Data  []byte    // for whoever lists them: the backend does not look into it
}

// stored is how a backend keeps what a run waits for. A key need be no text.
type stored struct {
	Keys  [][]byte  `json:"keys"`
	Until time.Time `json:"until,omitzero"`
	Data  []byte    `json:"data,omitempty"`
}

// Encode returns w as bytes, which a backend may keep; none of nil.
func (w *Waits) Encode() ([]byte, error) {
	if w == nil {
		return nil, nil
	}
	s := stored{Keys: [][]byte{}, Until: w.Until, Data: w.Data}
	for _, key := range w.Keys {
		s.Keys = append(s.Keys, []byte(key))
	}
	return json.Marshal(s)
}

// DecodeWaits returns what Encode has made bytes of.
func DecodeWaits(data []byte) (*Waits, error) {
	if len(data) == 0 {
		return nil, nil
	}
	var s stored
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, err
	}
	w := &Waits{Until: s.Until, Data: s.Data}
	for _, key := range s.Keys {
		w.Keys = append(w.Keys, string(key))
	}
	return w, nil
}
