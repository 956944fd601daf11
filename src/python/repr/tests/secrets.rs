//! What has the name of a secret.

use super::*;

#[test]
fn secrets_are_not_shown() {
    let program = r#"
import collections, functools
class Account(object): pass
class Slots(object):
    __slots__ = ('password',)
class Old: pass
secret = 'hunter2'
a = Account(); a.dbPassword = secret; show('instance', a, '<Account dbPassword=~>')
s = Slots(); s.password = secret; show('slots', s, '<Slots password=~>')
o = Old(); o.token = [secret]; show('old', o, '<Old token=~>')
N = collections.namedtuple('N', 'name api_key'); show('named tuple', N(1, secret), "N(name=1, api_key=~)")
show('dict', {'password': secret}, "{'password': ~}")
show('bytes', {b'secret': secret}, "{%r: ~}" % b'secret')
show('nested', [{1: {'access-token': secret}}], "[{1: {'access-token': ~}}]")
show('values', {'monkey': 1, 5: 'password'}.get(5), "'password'")
show('pairs', [('Authorization', secret), ('Accept', 'token')], "[('Authorization', ~), ('Accept', 'token')]")
ordered = collections.OrderedDict(passwd=secret)
show('ordered', ordered, repr(ordered).replace(repr(secret), '~'))
if sys.version_info > (3,):
    import types
    show('values', {'token': secret}.values(), 'dict_values([~])')
    show('namespace', types.SimpleNamespace(private_key=secret), 'namespace(private_key=~)')
    show('partial', functools.partial(len, token=secret), 'functools.partial(<built-in function len>, token=~)')
"#;
    let hidden = Limits { secrets: false, ..EVERYTHING };
    for interpreter in Interpreter::all() {
        let target = Target::start(&interpreter, program);
        let printer = Printer::new(ObjectReader::new(target.memory(), &target.layout));
        for shown in target.all_shown() {
            // Not every version writes `…` in its own programs.
            let expected = shown.text.replace('~', "…");
            assert_eq!(printer.repr(shown.address, &hidden), expected, "{interpreter}");
            let everything = printer.repr(shown.address, &EVERYTHING);
            assert_eq!(everything.contains("hunter2"), expected.contains('…'), "{interpreter}: {everything}");
        }
    }
}
