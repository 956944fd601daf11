//! numpy and pandas, where they are.

use super::*;

/// For the interpreters for which `tests/packages/fetch` has brought pandas, which brings numpy.
#[test]
fn arrays_and_tables_show_what_is_in_them() {
    let program = r#"
import numpy, pandas
arrays = [numpy.arange(12.).reshape(3, 4), numpy.arange(5, dtype='int32'), numpy.array(5),
          numpy.zeros((2, 0, 3), dtype=bool), numpy.array(['a', 'bcd', '\u4e2d']),
          numpy.array([None, 'x', [1]], dtype=object),
          numpy.array([b'a', b'b\0c']), numpy.array([1+2j, -0.5j]), numpy.array([0.1, 2], dtype='float32'),
          numpy.array([-1, 2], dtype='int8'), numpy.array([2**64 - 1], dtype='uint64'),
          numpy.arange(24).reshape(2, 3, 4)[::-1, :, ::2], numpy.arange(6).reshape(2, 3).T,
          numpy.array([True, False])]
for a in arrays:
    show('array', a, '<numpy.ndarray %s %s %r>' % (a.dtype.type.__name__, str(a.shape), a.tolist()))
a = numpy.arange(3, dtype='>i4'); show('swapped', a, '<numpy.ndarray int32 (3,)>')
a = numpy.zeros(2, dtype=[('x', 'i4'), ('y', 'f8')]); show('records', a, '<numpy.ndarray void (2,)>')
a = numpy.array([None]); a[0] = a; show('itself', a, '<numpy.ndarray object_ (1,) [<...>]>')
times = ['1969-12-31T23:59:59.123456789', '2020-02-29T05:06:07', 'NaT']
for unit in ('Y', 'M', 'W', 'D', 'h', 'm', 's', 'ms', 'us', 'ns', 'ps', '25s'):
    a = numpy.array(times[1:] if unit == 'ps' else times, dtype='datetime64[%s]' % unit)
    show('times', a, '<numpy.ndarray datetime64 (%d,) %r>' % (len(a), [str(t) for t in a]))
    # The older ones do not tell all units.
    for t in a: show('time', t, repr(t)) if repr(t).startswith('np.') else None
    t = numpy.timedelta64(-7, unit); show('delta', t, repr(t).replace('numpy.', 'np.'))
a = numpy.array([5, 'NaT'], dtype='timedelta64[s]'); show('deltas', a, "<numpy.ndarray timedelta64 (2,) [5, 'NaT']>")
for s in (numpy.int64(-5), numpy.int8(-3), numpy.uint16(65535), numpy.uint64(2**64 - 1), numpy.float64(0.1),
          numpy.float32(0.1), numpy.float32(3)):
    show('scalar', s, repr(s) if repr(s).startswith('np.') else 'np.%s(%s)' % (type(s).__name__, s))
for b in (True, False): show('bool', numpy.bool_(b), 'np.%s_' % b)
def rows(frame): return [tuple(frame[name].tolist()[row] for name in frame.columns) for row in range(len(frame))]
frames = [pandas.DataFrame({'a': [1, 2, 3], 'b': [1.5, 2, 3], 'c': [4, 5, 6]}), pandas.DataFrame({5: [None, 'x']}),
          pandas.DataFrame({'s': ['x', 'y'], 'n': [1, 2], 'f': [True, False], 'm': [3, 4]})]
f = frames[0].copy(); f['d'] = ['p', 'q', 'r']; f['e'] = [7, 8, 9]; frames.append(f)
for f in frames:
    show('frame', f, '<pandas.DataFrame %s columns=%r rows=%r>' % (f.shape, f.columns.tolist(), rows(f)))
f = pandas.DataFrame(); show('empty', f, '<pandas.DataFrame (0, 0) columns=[]>')
f = pandas.DataFrame({'a': range(100)})
show('long', f, "<pandas.DataFrame (100, 1) columns=['a'] rows=[(0,), (1,), (2,), (3,), (4,), ~]>")
f = pandas.DataFrame({'t': pandas.to_datetime(['2020-01-01']), 'c': pandas.Categorical(['x'])})
time = str(f['t'].values[0])
show('mixed', f, "<pandas.DataFrame (1, 2) columns=['t', 'c'] rows=[(%r, 'x')]>" % time)
f = frames[0]
for s in (f['a'], f['b'], pandas.Series([], dtype='int64'), pandas.Series(['x', 'y'])):
    show('series', s, '<pandas.Series %s %r>' % (s.shape, s.tolist()))
for i in (f.index, f.columns, pandas.Index([3, 1]), pandas.RangeIndex(2, 20, 3)):
    show('index', i, '<pandas.%s %s %r>' % (type(i).__name__, i.shape, i.tolist()))
c = pandas.Categorical(['b', 'a', None, 'b'], categories=['a', 'b', 'z'])
show('categorical', c, "<pandas.Categorical (4,) ['b', 'a', nan, 'b'] categories=['a', 'b', 'z']>")
"#;
    let (mut found, mut wrong) = (0, Vec::new());
    let interpreters = Interpreter::all_builds();
    for interpreter in &interpreters {
        let Some(packages) = interpreter.packages("pandas").pop() else { continue };
        found += 1;
        let target = Target::start_with(interpreter, program, &packages);
        let printer = Printer::new(ObjectReader::new(target.memory(), &target.layout));
        assert!(target.all_shown().len() > 60, "{interpreter} showed {}", target.all_shown().len());
        for shown in target.all_shown() {
            let text = printer.repr(shown.address, &EVERYTHING).replace('…', "~");
            if text != shown.text.replace('…', "~") {
                wrong.push(format!("{interpreter} {}: {text}\n     not {}", shown.name, shown.text));
            }
        }
    }
    if found < interpreters.len() {
        let missing = interpreters.len() - found;
        let _ = std::io::Write::write_all(
            &mut std::io::stderr(),
            format!("skipped: no pandas for {missing} interpreters (tests/packages/fetch brings it for some)\n")
                .as_bytes(),
        );
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
