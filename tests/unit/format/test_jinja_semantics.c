// Corners of the language and of its built-ins. The expected texts are what Jinja2 3.1.6 gives in
// the environment of transformers.

#include "unit/format/template_cases.h"

struct sample {
    const char *text, *want;
};

static const struct sample loops[] = {
    {"{% for x in [1,2] %}{% continue %}{% else %}none{% endfor %}", "none"},
    {"{% for x in [1,2] %}{% break %}{% else %}none{% endfor %}", "none"},
    {"{% for x in [1,2] %}{{ x }}{% else %}none{% endfor %}", "12"},
    {"{% for x in [1,2,3] if x != 2 %}{{ loop.length }}{{ loop.revindex0 }}{% endfor %}", "2120"},
    {"{% set ns = namespace(n=0) %}{% for x in [1,2,3] if ns.n < 2 %}{% set ns.n = ns.n + 1 %}{{ x "
     "}}{% endfor %}",
     "12"},
    {"{% for x in [[1,[[2,[]]]],[3,[]]] recursive %}{{ x[0] }}{{ loop.depth }}{% if x[1] %}({{ "
     "loop(x[1]) }}){% endif %}{% endfor %}",
     "11(22)31"},
    {"{% set g = [3,1]|map('string') %}{{ g|first }}{{ g|list }}{{ g|list }}", "3['1'][]"},
    {"{% for x in [1,2] %}{% for y in [3] %}{{ loop.index }}{% endfor %}{{ loop.index0 }}{% endfor "
     "%}",
     "1011"},
    {"{% for (a, (b, c)) in [(1,(2,3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}", "123"},
    {"{% for x in 'ab' %}{% set x = x|upper %}{{ x }}{% endfor %}", "AB"},
    {"{% for i in range(3) %}{% if loop.previtem is defined %}{{ loop.previtem }}{% endif %}{% "
     "endfor %}",
     "01"},
};

static const struct sample scopes[] = {
    {"{% macro m() %}{{ x }}{% endmacro %}{% set x = 1 %}{{ m() }}", "1"},
    {"{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}{{ m(1, b=2) }}", "1112"},
    {"{% macro m() %}{% set x = 2 %}{{ x }}{% endmacro %}{% set x = 1 %}{{ m() }}{{ x }}", "21"},
    {"{% for x in [1,2] %}{% macro m() %}{{ x }}{% endmacro %}{{ m() }}{% endfor %}{{ m is defined "
     "}}",
     "12False"},
    {"{% macro f(items) %}{% for i in items %}{{ caller(i) }}{% endfor %}{% endmacro %}{% call(x) "
     "f([1,2]) %}[{{ x }}]{% endcall %}",
     "[1][2]"},
    {"{% macro a() %}{{ caller is defined }}{% endmacro %}{{ a() }}", "False"},
    {"{% with a = 1, b = 2 %}{{ a + b }}{% with a = b, b = a %}{{ a }}{{ b }}{% endwith %}{% "
     "endwith %}",
     "321"},
    {"{% set x = 1 %}{% filter upper %}{% set x = 'in' %}{{ x }}{% endfilter %}{{ x }}", "IN1"},
    {"{% set (a, b) = (1, [2, 3]) %}{{ a }}{{ b }}", "1[2, 3]"},
    {"{% set ns = namespace(d={'k': 1}, l=[1]) %}{{ ns.d.k }}{{ ns.l }}{{ ns }}",
     "1[1]<Namespace {'d': {'k': 1}, 'l': [1]}>"},
    {"{% macro m() %}{{ varargs|length }}{{ kwargs|tojson }}{% endmacro %}{{ m(1, 2, *[3], a=1, "
     "**{'b': 2}) }}",
     "3{\"a\": 1, \"b\": 2}"},
    {"{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{% "
     "set j = joiner('|') %}{{ j() }}x{{ j() }}y",
     "ababx|y"},
    {"{% print 1 + 2 %}", "3"},
};

static const struct sample whitespace[] = {
    {"a\n  {%- raw %}\n  {{ x }}\n  {% endraw -%}\n b", "a\n  {{ x }}\nb"},
    {"a\n  {% raw %}\n x\n  {% endraw %}\nb", "a\n\n x\nb"},
    {"a {#- x -#} b {# y +#}\nc", "ab \nc"},
    {"  {# c #}\n  {% set x = 1 %}  \n  {{ x }}\n", "  \n  1"},
    {"\t{%+ set x = 1 +%}\nb", "\t\nb"},
    {"{%- if true %}{{- ' a ' -}}{% endif %} b", " a  b"},
    {"{{ '{{' }}{{ '%}' }}{{ {'a': {'b': 1}} }}", "{{%}{'a': {'b': 1}}"},
    {"a {%- if true -%} b{% endif %}", "ab"},
    {"{#-#}x{#- #}y#}z", "xy#}z"},
    {"{{1}}{%if true%}2{%endif%}", "12"},
};

static const struct sample numbers[] = {
    {"{{ 0x1F }}{{ 0b11 }}{{ 0o17 }} {{ 1_0.5_0 }} {{ 1e2 }} {{ 12345678901234567890 }}",
     "31315 10.5 100.0 12345678901234567890"},
    {"{{ 7 // -2 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }} {{ 0 % -2.5 }}",
     "-4 2 -2 3.0 0.5 -0.0"},
    {"{{ 9223372036854775807 }} {{ -9223372036854775807 - 1 }} {{ 2**62 }} {{ 10**18 }}",
     "9223372036854775807 -9223372036854775808 4611686018427387904 1000000000000000000"},
    {"{{ 1 == 1.0 }} {{ true + true }} {{ true == 1 }} {{ 9007199254740993 == 9007199254740992.0 "
     "}}",
     "True 2 True False"},
    {"{{ 1e16 }} {{ 1e15 }} {{ 1e-4 }} {{ 1e-5 }} {{ 1e22 }} {{ 0.1 + 0.2 }} {{ 1e300 * 1e10 }} {{ "
     "-0.0 }}",
     "1e+16 1000000000000000.0 0.0001 1e-05 1e+22 0.30000000000000004 inf -0.0"},
    {"{{ 2.675|round(2) }} {{ 1.5|round }} {{ 0.5|round }} {{ -1.5|round }} {{ 1234.5|round(-2) }} "
     "{{ 1.23|round(1, 'ceil') }} {{ 5|round(1) }}",
     "2.67 2.0 0.0 -2.0 1200.0 1.3 5"},
    {"{{ ' 12 '|int }} {{ '0x1f'|int(0, 16) }} {{ '1_000'|int }} {{ '12.9'|int }} {{ none|int(5) "
     "}} {{ '1e3'|float }} {{ true|int }} {{ 'x'|float(1) }}",
     "12 31 1000 12 5 1000.0 1 1"},
    {"{{ 1 < 2 < 3 > 0 }} {{ 1 < 3 < 2 }} {{ 'a' < 'b' <= 'b' }} {{ [1, 2] < [1, 3] }} {{ (1, 'a') "
     "< (2,) }}",
     "True False True True True"},
    {"{{ -2 ** 2 }} {{ 2 ** -1 }} {{ 2 ** 0.5 }} {{ 10 / 4 }} {{ 3 * 'ab' }} {{ [0] * 3 }}",
     "4 0.5 1.4142135623730951 2.5 ababab [0, 0, 0]"},
};

static const struct sample strings[] = {
    {"{{ 'a\\x41\\101\\u00e9\\U0001F600\\q\\\n|' }}", "aAAé😀\\q|"},
    {"{{ 'Σας ΣΑΣ'|lower }} {{ 'ǆ ﬁ ß'|upper }} {{ 'ǆ ﬁx'.title() }} {{ 'ßx'|capitalize }} {{ "
     "'İ'|lower|length }} {{ 'aBß'.swapcase() }}",
     "σας σας Ǆ FI SS ǅ Fix Ssx 2 AbSS"},
    {"{{ 'they\\'re bill-gates (x)'|title }} {{ \"they're\".title() }}",
     "They're Bill-Gates (X) They'Re"},
    {"{{ ' a  b '.split() }}{{ ' a  b '.rsplit(none, 1) }}{{ 'a,b,c'.rsplit(',', 1) }}{{ "
     "',a,'.split(',') }}{{ 'aXXb'.split('XX') }}{{ ' a b c '.split(none, 1) }}",
     "['a', 'b'][' a', 'b']['a,b', 'c']['', 'a', '']['a', 'b']['a', 'b c ']"},
    {"{{ 'a\\r\\nb\\x0bc\\u2028d\\n'.splitlines() }}{{ 'a\\nb'.splitlines(true) }}{{ "
     "''.splitlines() }}",
     "['a', 'b', 'c', 'd']['a\\n', 'b'][]"},
    {"{{ 'héllo'[1:3] }}{{ 'héllo'[::-2] }}{{ 'héllo'[-3:] }}{{ 'héllo'.find('l') }}{{ "
     "'héllo'.rfind('l') }}{{ 'héllo'.find('l', 3) }}{{ 'héllo'.index('o', -2) }}",
     "élolhllo2334"},
    {"{{ 'aaa'.replace('a', 'b', 2) }}{{ 'ab'.replace('', '-') }}{{ 'ab'.replace('', '-', 2) }}{{ "
     "'aaa'.count('aa') }}{{ 'abc'.count('') }}",
     "bba-a-b--a-b14"},
    {"{{ 'a-b-c'.partition('-') }}{{ 'a-b-c'.rpartition('-') }}{{ 'abc'.partition('-') }}{{ "
     "'abc'.rpartition('-') }}",
     "('a', '-', 'b-c')('a-b', '-', 'c')('abc', '', '')('', '', 'abc')"},
    {"{{ '-5'.zfill(4) }}{{ 'ab'.center(5) }}|{{ 'ab'.center(7, '*') }}|{{ 'a'|center(4) }}|{{ "
     "'é'.ljust(3, '.') }}",
     "-005  ab |***ab**| a  |é.."},
    {"{{ 'abcabc'.strip('ac') }}{{ 'é x é'.strip('é') }}|{{ '\\u2003x\\u00a0'.strip() }}|{{ "
     "'x'.strip('') }}",
     "bcab x |x|x"},
    {"{{ '٣'.isdigit() }}{{ '²'.isdigit() }}{{ '²'.isdecimal() }}{{ 'é1'.isalnum() }}{{ "
     "''.isalpha() }}{{ 'A1'.isupper() }}{{ '1'.islower() }}",
     "TrueTrueFalseTrueFalseTrueFalse"},
    {"{{ 'x' 'y' \"z\" }}{{ 'a' ~ none ~ 1.0 ~ [1] }}{{ \"it's\"|list }}{{ ['a\"b', \"a'b\", "
     "'a\\'\"', '\\x00\\x7f\\u200b\\U0001F600'] }}",
     "xyzaNone1.0[1]['i', 't', \"'\", 's']['a\"b', \"a'b\", 'a\\'\"', '\\x00\\x7f\\u200b😀']"},
    {"{{ 'a b  c'|wordcount }}{{ 'x<b>y</b> <!-- c -->&amp;'|striptags }}{{ 'a/b c&é'|urlencode "
     "}}{{ {'a b': 1, 'c': 'd/e'}|urlencode }}",
     "3xy &a/b%20c%26%C3%A9a+b=1&c=d%2Fe"},
    {"{{ 'hello big world'|truncate(9) }}|{{ 'hello big world'|truncate(9, true) }}|{{ 'hello "
     "big'|truncate(8) }}|{{ 'hello big world'|truncate(11, false, '!', 0) }}",
     "hello...|hello ...|hello big|hello big!"},
    {"{{ 'a\\n\\nb'|indent }}|{{ 'a\\nb\\n'|indent(2) }}|{{ 'a\\nb'|indent('> ', true) }}",
     "a\n\n    b|a\n  b\n|> a\n> b"},
    {"{{ 'a'.startswith('') }}{{ 'abc'.startswith('b', 1) }}{{ 'abc'.endswith('b', 0, 2) }}{{ "
     "'abc'.endswith(('x', 'c')) }}{{ 'a'.startswith('', 5) }}",
     "TrueTrueTrueTrueFalse"},
};

static const struct sample formats[] = {
    {"{{ '%s|%r|%5s|%-5s|%05d|%+d|% d|%x|%X|%#x|%o|%#o' % ('a', 'b', 'c', 'd', 42, 42, 42, 255, "
     "255, 255, 8, 8) }}",
     "a|'b'|    c|d    |00042|+42| 42|ff|FF|0xff|10|0o10"},
    {"{{ '%.3f|%8.2f|%-8.2f|%08.2f|%e|%.1E|%g|%G|%.3g' % (3.14159, 2.5, 2.5, -2.5, 12345.678, "
     "0.00012, 1e10, 1e-10, 1234.5) }}",
     "3.142|    2.50|2.50    |-0002.50|1.234568e+04|1.2E-04|1e+10|1E-10|1.23e+03"},
    {"{{ '%c%c|%%|%s' % ('x', 233, none) }}", "xé|%|None"},
    {"{{ '%(a)s-%(b)05.1f' % {'a': 1, 'b': 2.25} }}{{ '%*d|%-*d|%.*f' % (5, 1, 5, 2, 2, 1.005) }}",
     "1-002.2    1|2    |1.00"},
    {"{{ '%d' % 3.9 }}{{ '%s' % [1, 2] }}{{ '%s %s' % (1, 'é') }}{{ '%.2s' % 'éàü' }}",
     "3[1, 2]1 ééà"},
    {"{{ '{} {1}'|replace('{1}', '{}') }}{{ '{0}{1}{0}'.format('a', 'b') }}{{ "
     "'{x[k]}{y.real}'.format(x={'k': 1}, y=2) if false else 'z' }}",
     "{} {}abaz"},
    {"{{ '{:>5}|{:<5}|{:^5}|{:*^7}|{:05d}|{:+}|{: }'.format('a', 'b', 'c', 'd', 42, 1, 2) }}",
     "    a|b    |  c  |***d***|00042|+1| 2"},
    {"{{ '{:,}|{:_}|{:x}|{:#x}|{:b}|{:o}|{:c}|{:.2f}|{:.1%}|{:e}|{:g}'.format(1234567, 1234567, "
     "255, 255, 5, 8, 65, 3.14159, 0.256, 12345.0, 0.0001) }}",
     "1,234,567|1_234_567|ff|0xff|101|10|A|3.14|25.6%|1.234500e+04|0.0001"},
    {"{{ '{!r}|{!s:>4}|{{}}|{:.2}|{:10.3f}|{:<10,.2f}|'.format('a', 'b', 'xyz', 2.0, 1234567.891) "
     "}}",
     "'a'|   b|{}|xy|     2.000|1,234,567.89|"},
    {"{{ '{a} {b[0]} {c[x]}'.format(a=1, b=[2], c={'x': 3}) }}{{ '%s-%s'|format('a', 1) }}{{ "
     "'%(x)s'|format(x=1) }}",
     "1 2 3a-11"},
    {"{{ '{:}'.format(true) }}{{ '{:5}'.format(true) }}{{ '{:.1f}'.format(3) }}{{ "
     "'{:=+6d}'.format(42) }}",
     "True    13.0+   42"},
};

static const struct sample sequences[] = {
    {"{{ [3,1,2]|sort }}{{ ['b','A','c']|sort }}{{ ['b','A']|sort(case_sensitive=true) }}{{ "
     "[(1,'b'),(1,'a')]|sort(attribute='0,1') }}{{ [none, none]|sort }}",
     "[1, 2, 3]['A', 'b', 'c']['A', 'b'][(1, 'a'), (1, 'b')][None, None]"},
    {"{{ [1,2,3,4,5]|batch(2, 'x')|list }}{{ [1,2,3,4,5]|slice(3)|list }}{{ [1,2,3,4]|slice(3, "
     "'x')|list }}",
     "[[1, 2], [3, 4], [5, 'x']][[1, 2], [3, 4], [5]][[1, 2], [3, 'x'], [4, 'x']]"},
    {"{{ [{'a': 1, 'b': 'x'}, {'a': 2, 'b': 'X'}, {'a': 3}]|groupby('b', default='z')|list }}",
     "[('x', [{'a': 1, 'b': 'x'}, {'a': 2, 'b': 'X'}]), ('z', [{'a': 3}])]"},
    {"{% for g in [{'a': 'q', 'n': 1}, {'a': 'p', 'n': 2}, {'a': 'q', 'n': 3}]|groupby('a') %}{{ "
     "g.grouper }}{{ g.list|map(attribute='n')|join(',') }};{% endfor %}",
     "p2;q1,3;"},
    {"{{ ['a','B','A']|unique|list }}{{ ['a','A']|unique(case_sensitive=true)|list }}{{ "
     "[1,1.0,true,2]|unique|list }}",
     "['a', 'B']['a', 'A'][1, 2]"},
    {"{{ ['b','A']|min }}{{ ['b','A']|max(case_sensitive=true) }}{{ [{'n': 2},{'n': "
     "1}]|min(attribute='n') }}{{ []|max }}|{{ [1,2.5]|sum }}{{ [[1],[2]]|sum(start=[]) }}",
     "Ab{'n': 1}|3.5[1, 2]"},
    {"{{ none|map('upper')|list }}{{ false|select|list }}{{ ['a']|map('replace', 'a', 'b')|list "
     "}}{{ [1,2,3]|select('gt', 1)|list }}{{ [1,2]|reject|list }}",
     "[][]['b'][2, 3][]"},
    {"{{ [{'a': {'b': [5]}}]|map(attribute='a.b.0')|list }}{{ [{'a': 1}]|map(attribute='x', "
     "default=7)|list }}{{ [[1,2]]|map(attribute=1)|list }}",
     "[5][7][2]"},
    {"{{ {'b': 1, 'A': 2}|dictsort }}{{ {'b': 1, 'A': 2}|dictsort(true) }}{{ {'b': 1, 'a': "
     "2}|dictsort(by='value', reverse=true) }}",
     "[('A', 2), ('b', 1)][('A', 2), ('b', 1)][('a', 2), ('b', 1)]"},
    {"{{ {'a': 1}.items() }}{{ {'a': 1}.keys() }}{{ {'a': 1}.values() }}{{ {'a': 1}|items|list "
     "}}{{ zz|items|list }}",
     "dict_items([('a', 1)])dict_keys(['a'])dict_values([1])[('a', 1)][]"},
    {"{{ {1: 'a', 1.0: 'b', true: 'c'} }}{{ {(1,2): 3}[(1,2)] }}{{ {'a': 1} == {'a': 1.0} }}{{ "
     "[1,[2]] == [1,[2]] }}{{ (1,) == [1] }}",
     "{1: 'c'}3TrueTrueFalse"},
    {"{{ dict([('a', 1)], b=2) }}{{ dict({'x': 1}) }}{{ range(5)[1:3]|list }}{{ range(3) }}{{ "
     "range(0, "
     "6, 2)|list }}{{ range(3)[-1] }}{{ 2 in range(3) }}",
     "{'a': 1, 'b': 2}{'x': 1}[1, 2]range(0, 3)[0, 2, 4]2True"},
    {"{{ [1,2,3][1:] }}{{ [1,2,3][::-1] }}{{ [1,2,3][-2:] }}{{ (1,2,3)[:2] }}{{ [1,2,3][5:] }}{{ "
     "[1,2][none:1] }}",
     "[2, 3][3, 2, 1][2, 3](1, 2)[][1]"},
    {"{{ 'abc'|first }}{{ 'abc'|last }}{{ 'abc'|reverse }}{{ [1,2]|reverse|list }}{{ 'ab'|list "
     "}}{{ {'x': 1}|list }}{{ (1,2)|join('-') }}{{ 'abc'|join('.') }}",
     "accba[2, 1]['a', 'b']['x']1-2a.b.c"},
    {"{{ {'a': 1}|tojson(indent='--') }}{{ [1, [2]]|tojson(indent=1) }}{{ {'b': [1], 'a': "
     "{}}|tojson(indent=2, sort_keys=true, separators=('; ', ' = ')) }}",
     "{\n--\"a\": 1\n}[\n 1,\n [\n  2\n ]\n]{\n  \"a\" = {}; \n  \"b\" = [\n    1\n  ]\n}"},
    {"{{ [1,2]|attr('count') is defined }}{{ 'x'|attr('nope') is defined }}{{ {'count': "
     "1}|attr('count') is defined }}{{ {'keys': 1}['keys'] }}{{ {'a': 1}['keys'] is callable }}",
     "TrueFalseFalse1True"},
    {"{{ [1,'a',none,true,1.5]|map('string')|list }}{{ (1,) }}{{ () }}{{ [] }}{{ {} }}{{ [zz] }}",
     "['1', 'a', 'None', 'True', '1.5'](1,)()[]{}[Undefined]"},
};
static void check_samples(const struct sample *samples, size_t n)
{
    for (size_t i = 0; i < n; i++) expect_text(samples[i].text, NULL, samples[i].want);
}

#define SAMPLES_TEST(samples)                                                                      \
    static void test_##samples(void **state)                                                       \
    {                                                                                              \
        (void)state;                                                                               \
        check_samples(samples, QW_ARRAY_LEN(samples));                                             \
    }

SAMPLES_TEST(loops)
SAMPLES_TEST(scopes)
SAMPLES_TEST(whitespace)
SAMPLES_TEST(numbers)
SAMPLES_TEST(strings)
SAMPLES_TEST(formats)
SAMPLES_TEST(sequences)

static void test_errors(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"{{ [1].append(2) }}", "access to attribute 'append' of 'list' object is unsafe"},
        {"{{ {}.update({}) }}", "access to attribute 'update' of 'dict' object is unsafe"},
        {"{{ ''.__class__.__mro__ }}", "access to attribute '__class__'"},
        {"{{ zz.a|default(1) }}", "'zz' is undefined"},
        {"{{ {}.a.b }}", "'dict object' has no attribute 'a'"},
        {"{{ [][0].b }}", "list object has no element 0"},
        {"{{ none.a.b }}", "'None' has no attribute 'a'"},
        {"\n{{ 1 + 'a' }}", "line 2: unsupported operand type(s) for +: 'int' and 'str'"},
        {"{{ 'a' + 1 }}", "can only concatenate str"},
        {"{{ 1 < 'a' }}", "'<' not supported between instances of 'int' and 'str'"},
        {"{{ 1 in 'a' }}", "requires string as left operand"},
        {"{{ 1 in none }}", "argument of type 'NoneType' is not iterable"},
        {"{% for x in 5 %}{% endfor %}", "'int' object is not iterable"},
        {"{{ {[]: 1} }}", "unhashable type: 'list'"},
        {"{{ zz() }}", "'zz' is undefined"},
        {"{{ 5() }}", "'int' object is not callable"},
        {"{{ 1 // 0 }}", "division or modulo by zero"},
        {"{{ 1.0 % 0 }}", "modulo by zero"},
        {"{{ 0 ** -1 }}", "negative power"},
        {"{{ [1][::0] }}", "slice step cannot be zero"},
        {"{{ [1]['a':] }}", "slice indices must be integers"},
        {"{% set x = 1 %}{{ x[1:] }}", "not subscriptable"},
        {"{% set a, b = [1] %}", "cannot unpack 1 values into 2 names"},
        {"{% set x = {} %}{% set x.a = 1 %}", "non-namespace object"},
        {"{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "macro 'm' takes not more than 1"},
        {"{% macro m(a) %}{% endmacro %}{{ m(b=2) }}", "no keyword argument 'b'"},
        {"{% macro m(a) %}{% endmacro %}{{ m(1, a=2) }}", "multiple values for argument 'a'"},
        {"{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}", "no caller is defined"},
        {"{{ ''.split('') }}", "empty separator"},
        {"{{ 'a'.index('b') }}", "substring not found"},
        {"{{ [1].index(2) }}", "x not in list"},
        {"{{ 'a'.upper(1) }}", "upper() takes at most 0 arguments"},
        {"{{ 'a'.replace('b') }}", "replace() is missing the argument 'new'"},
        {"{{ 'a'|replace('b', 'c', nope=1) }}", "unexpected keyword argument 'nope'"},
        {"{{ 'a'|trim('b', chars='c') }}", "multiple values for argument 'chars'"},
        {"{{ [1]|map('nope')|list }}", "there is no filter named 'nope'"},
        {"{{ [1]|select('nope')|list }}", "there is no test named 'nope'"},
        {"{{ zz|tojson }}", "object of type Undefined is not JSON serializable"},
        {"{{ range|tojson }}", "object of type function is not JSON serializable"},
        {"{{ {(1,): 2}|tojson }}", "keys must be str"},
        {"{{ '%d' % 'x' }}", "a number is required"},
        {"{{ '%s' % () }}", "not enough arguments"},
        {"{{ 'x' % 1 }}", "not all arguments converted"},
        {"{{ '%y' % 1 }}", "unsupported format character 'y'"},
        {"{{ '{}'.format() }}", "replacement index 0"},
        {"{{ '{'.format() }}", "expected '}'"},
        {"{{ '}'.format() }}", "single '}'"},
        {"{{ '{:{}}'.format(1, 2) }}", "is not supported"},
        {"{{ '{:d}'.format('a') }}", "invalid format specifier"},
        {"{{ '{0.__class__.x}'.format('a') }}", "access to attribute '__class__'"},
        {"{{ raise_exception('bad ' ~ 1) }}", "bad 1"},
        {"{{ range(1, 2, 0) }}", "must not be zero"},
        {"{% for x in [1] %}{{ loop() }}{% endfor %}", "'recursive' marker"},
        {"{{ 12345678901234567890 + 1 }}", "64 bits"},
        {"{{ 'a'|nope if true }}", "there is no filter named 'nope'"},
        {"{{ 5|length }}", "object of type 'int' has no len()"},
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        qw_error err = {0};
        qw_buf out;
        qw_buf_init(&out, 1 << 20);
        qw_status st = render_text(&out, cases[i].text, strlen(cases[i].text), NULL, NULL, &err);
        if (st == QW_OK || !strstr(err.text, cases[i].message))
            fail_msg("%s\n got: %s\nwant: %s", cases[i].text, st ? err.text : out.data,
                     cases[i].message);
        assert_int_equal(out.len, 0);
        qw_buf_release(&out);
    }
}

// NUL and all of Unicode pass through; objects keep their order, numbers their spelling.
static void test_json_values(void **state)
{
    (void)state;
    qw_error err = {0};
    qw_buf out;
    qw_buf_init(&out, 1 << 20);
    const char *context = "{\"v\": {\"z\": 1, \"a\": 1.0, \"\u00e9\": \"a\\u0000b\"}}";
    const char *text = "{{ v|tojson }}{{ v.z }}{{ v.a }}{{ v['é'] }}{{ v['é']|length }}";
    assert_ok(render_text(&out, text, strlen(text), context, NULL, &err));
    static const char want[] = "{\"z\": 1, \"a\": 1.0, \"é\": \"a\\u0000b\"}11.0a\0"
                               "b3";
    assert_int_equal(out.len, sizeof want - 1);
    assert_memory_equal(out.data, want, sizeof want - 1);
    qw_buf_release(&out);
    // Many members: found through the index, in the order given.
    qw_buf_init(&out, 1 << 20);
    for (int i = 0; i < 200; i++)
        qw_buf_printf(&out, "%s\"k%d\": %d", i ? ", " : "{\"d\": {", i, i);
    qw_buf_puts(&out, "}}");
    expect_text("{{ d.k0 }} {{ d.k199 }} {{ d.k200 is defined }} {{ d|length }} {{ d|first }} "
                "{{ d|list|last }} {{ d.values()|sum }}",
                out.data, "0 199 False 200 k0 k199 19900");
    qw_buf_release(&out);
}

int main(void)
{
    qw_json_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loops),       cmocka_unit_test(test_scopes),
        cmocka_unit_test(test_whitespace),  cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_strings),     cmocka_unit_test(test_formats),
        cmocka_unit_test(test_sequences),   cmocka_unit_test(test_errors),
        cmocka_unit_test(test_json_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
