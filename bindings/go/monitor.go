package gradclip

/*
#include <gradclip.h>
#include <stdlib.h>
#include <string.h>

// The lines of one step: the header, the line, and a warning of each kind at most. They are
// handed to Go after the call, so that nothing of Go's runs, or panics, inside it.
enum { ROOM = 8 };
typedef struct { uint32_t kinds[ROOM]; char *texts[ROOM]; int count; } step_lines;

static void take_line(void *user_data, uint32_t kind, const char *text) {
	step_lines *lines = user_data;
	if (lines->count < ROOM) {
		lines->kinds[lines->count] = kind;
		lines->texts[lines->count++] = strdup(text);
	}
}

static gradclip_status monitor_log(uint64_t *step, uint32_t *said, double *learning_rate, double *loss,
                                   gradclip_result *result, gradclip_decision *decision, step_lines *lines) {
	gradclip_monitor monitor;
	gradclip_monitor_init(&monitor, sizeof monitor);
	monitor.step = *step;
	monitor.said = *said;
	monitor.callback = take_line;
	monitor.user_data = lines;
	gradclip_status status = gradclip_monitor_log(&monitor, learning_rate, loss, result, decision);
	*step = monitor.step;
	*said = monitor.said;
	return status;
}
*/
import "C"

import (
	"runtime"
	"unsafe"
)

// LogKind is what a line of a Monitor is.
type LogKind uint32

const (
	// LogCSV is the header or a line of the CSV.
	LogCSV LogKind = C.GRADCLIP_LOG_CSV
	// LogWarning is a sentence that names the step, and gradient and element.
	LogWarning LogKind = C.GRADCLIP_LOG_WARNING
)

// Monitor writes the log of a training run: a line of CSV for every step, which `gradclip
// advise` reads, and a warning the first time that a gradient is not finite, that all are
// zero, that the loss is not finite. Set Write; the zero value of the rest begins a new log.
// Two goroutines must not use one at a time, nor may it be copied (go vet finds copies).
type Monitor struct {
	_ noCopy
	// Write takes a line, which has no newline at its end.
	Write func(kind LogKind, line string)
	// Step is the number of the next step; 0 counts as 1. Set it to resume.
	Step uint64
	// Said is what was said already: 1 the header, 4 not finite, 8 all zero, 16 the loss. Set 1
	// to append to a file that has the header.
	Said uint32
}

// Log logs a step: what clipping found (that of a *NonFiniteError, too), its learning rate
// and its loss; nil leaves the cell blank.
func (m *Monitor) Log(result Result, learningRate, loss *float64) error {
	return m.LogDecision(result, learningRate, loss, nil)
}

// LogDecision is Log with what a Chooser decided about the step; nil without one.
func (m *Monitor) LogDecision(result Result, learningRate, loss *float64, decision *Decision) error {
	if m.Write == nil {
		return &Error{InvalidArgument, "Write must not be nil"}
	}
	r := newResult()
	r.total_norm, r.clip_coef, r.factor = C.double(result.TotalNorm), C.double(result.ClipCoef), C.double(result.Factor)
	r.nonfinite_count, r.nan_count = C.uint64_t(result.NonfiniteCount), C.uint64_t(result.NaNCount)
	r.first_tensor, r.first_element = C.GRADCLIP_NONE, C.GRADCLIP_NONE
	if result.NonfiniteCount > 0 {
		r.first_tensor, r.first_element = C.uint64_t(result.FirstTensor), C.uint64_t(result.FirstElement)
	}
	step, said := C.uint64_t(m.Step), C.uint32_t(m.Said)
	if step == 0 {
		step = 1
	}
	var decided *C.gradclip_decision
	if decision != nil {
		decided = new(C.gradclip_decision)
		C.gradclip_decision_init(decided, C.sizeof_gradclip_decision)
		decided.threshold, decided.action = C.double(decision.Threshold), C.uint32_t(decision.Action)
	}
	var lines C.step_lines
	err := func() error {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		return check(C.monitor_log(&step, &said, (*C.double)(learningRate), (*C.double)(loss), &r, decided, &lines))
	}()
	if err != nil {
		return err
	}
	m.Step, m.Said = uint64(step), uint32(said)
	type line struct {
		kind LogKind
		text string
	}
	var all []line
	for i := 0; i < int(lines.count); i++ {
		all = append(all, line{LogKind(lines.kinds[i]), C.GoString(lines.texts[i])})
		C.free(unsafe.Pointer(lines.texts[i]))
	}
	for _, line := range all {
		m.Write(line.kind, line.text)
	}
	return nil
}
