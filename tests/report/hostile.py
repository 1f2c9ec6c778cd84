"""Texts that try to become scripts, and a run that carries such a text in every field."""

from dataclasses import replace

from tests.report.fake_rounds import make_tuning
from tests.report.fake_run import make_contents

from c3l.records import Provenance, Rejected, ScoredPair
from c3l.report.contents import ReportContents, StageCounts

RUN = "window.__ran=1"
PAYLOADS = (
    f"<script>{RUN}</script>",
    f"<SCRIPT>{RUN}</SCRIPT>",
    f"<script type=module>{RUN}</script>",
    f"<scr<script>ipt>{RUN}</scr</script>ipt>",
    f"</script><script>{RUN}</script>",
    f"</title><script>{RUN}</script>",
    f"</style><script>{RUN}</script>",
    f"</pre></textarea></noscript><script>{RUN}</script>",
    f"--><script>{RUN}</script><!--",
    f"]]><script>{RUN}</script>",
    f"<!--><script>{RUN}</script>-->",
    f"<script/x>{RUN}</script>",
    f"<script\n>{RUN}</script\n>",
    f"<script>{RUN}//",
    f"<script src='data:text/javascript,{RUN}'></script>",
    f"<img src=x onerror={RUN}>",
    f"<img/src=x/onerror={RUN}>",
    f"<img src=x onerror='{RUN}'//",
    f"<IMG SRC=x oNeRrOr={RUN}>",
    f"'><img src=x onerror={RUN}>",
    f'"><img src=x onerror={RUN}>',
    f"\"'><img src=x onerror={RUN}>",
    f'" onmouseover="{RUN}" onfocus="{RUN}" autofocus tabindex="0',
    f"' onload='{RUN}' x='",
    f"` onload=`{RUN}`",
    f'x" style="animation-name:x" onanimationstart="{RUN}',
    f"<svg onload={RUN}>",
    f"<svg/onload={RUN}//",
    f"</svg><svg><script>{RUN}</script></svg>",
    f"<svg><script href='data:text/javascript,{RUN}'/></svg>",
    f"<svg><animate onbegin={RUN} attributeName=x dur=1s></svg>",
    f"<svg><a href='javascript:{RUN}'><text y=20>x</text></a></svg>",
    f"<svg><use href=\"data:image/svg+xml,<svg id=x onload='{RUN}'/>#x\"/></svg>",
    f"<math><mtext><table><mglyph><style><img src=x onerror={RUN}>",
    f"<math href='javascript:{RUN}'>x</math>",
    f"<body onload={RUN}>",
    f"<body onpageshow={RUN}>",
    f'<iframe srcdoc="<script>parent.{RUN.removeprefix("window.")}</script>"></iframe>',
    f"<iframe src='javascript:parent.{RUN.removeprefix('window.')}'></iframe>",
    f"<iframe onload={RUN}></iframe>",
    f"<object data='javascript:{RUN}'></object>",
    f"<embed src='data:text/html,<script>{RUN}</script>'>",
    f"<details open ontoggle={RUN}><summary>x</summary></details>",
    f"<video><source onerror={RUN}></video>",
    f"<audio src=x onerror={RUN}></audio>",
    f"<input autofocus onfocus={RUN}>",
    f"<select autofocus onfocus={RUN}></select>",
    f"<textarea autofocus onfocus={RUN}></textarea>",
    f"<button autofocus onfocus={RUN}>x</button>",
    f"<style>@keyframes x{{}}</style><b style=animation-name:x onanimationstart={RUN}>x</b>",
    f"<style onload={RUN}></style>",
    f"<link rel=stylesheet href='data:text/css,' onload={RUN}>",
    f"<meta http-equiv=refresh content='0;url=javascript:{RUN}'>",
    f"<base href='javascript:{RUN}//'>",
    f"<form action='javascript:{RUN}'><button autofocus>x</button></form>",
    f"<form id=controls><input name=show><img name=elements src=x onerror={RUN}>",
    f"<template><script>{RUN}</script></template><script>{RUN}</script>",
    f'<noscript><p title="</noscript><img src=x onerror={RUN}>">',
    f"<marquee onstart={RUN}>x</marquee>",
    f"javascript:{RUN}",
    f"{{{{ ''.__class__.__mro__ }}}}{{% set x = 1 %}}<script>{RUN}</script>",
    f"{{}} {{0}} %s %(x)s $x<script>{RUN}</script>",
    f"\u202e<script>{RUN}</script>\u2028<script>{RUN}</script>",
    f"\ufeff<script>{RUN}</script>",
    f"&lt;script&gt;{RUN}&lt;/script&gt;<script>{RUN}</script>",
    f"&#60;img src=x onerror={RUN}&#62;<img src=x onerror={RUN}>",
    f"\\x3cscript\\x3e{RUN}\\u003c/script\\u003e<script>{RUN}</script>",
    f"+ADw-script+AD4-{RUN}+ADw-/script+AD4-",
)


def put_everywhere(text: str) -> ReportContents:
    """A run of one picture with two pairs a round and ``text`` in every text field, ids included."""
    contents = make_contents(1, instructions=1)
    (image,) = contents.images.values()
    draft, scored = ([_put_in_pair(text, pair, round) for pair in contents.scored[:2]] for round in (0, 1))
    selected = [
        replace(decision, sample_id=pair.sample.sample_id, image_id=text, reason=text)
        for pair, decision in zip(scored, contents.decisions, strict=False)
    ]
    return replace(
        contents,
        title=text,
        folder=text,
        exports={text: text},
        rows={text: 1},
        settings=text,
        provenance={text: Provenance(text, text, text, text, text, 0, {text: text})},
        stages=[StageCounts(text, text, text, 2, 1, {text: 1}, 1.0)],
        images={text: replace(image, image_id=text, path=text, sha256=text)},
        scored=scored,
        earlier=draft,
        tunings=[replace(make_tuning("tuned", 3), name=text)],
        decisions=selected,
        rejected=[Rejected(text, text, text, text, text), Rejected(f"{text}x", "other", text, text, text)],
    )


def _put_in_pair(text: str, pair: ScoredPair, round: int) -> ScoredPair:
    index = pair.sample.index
    sample = replace(
        pair.sample,
        sample_id=f"{text}{round}{index}",
        image_id=text,
        instruction_id=f"{text}{index}",
        question=text,
        answer=text if index else f"{text} {text}",
        round=round,
    )
    return replace(pair, sample=sample, scores=replace(pair.scores, tokens=(text, *pair.scores.tokens[1:])))
