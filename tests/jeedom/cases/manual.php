<?php

// The plugin's documents as a page of Jeedom.

declare(strict_types=1);

use Domoflux\Manual;
use Domoflux\Tests\Cases;
use Domoflux\Tests\Check;
use Domoflux\Tests\Jeedom;

Cases::add('the manual and the changes are HTML in the language of the person', static function (Jeedom $jeedom): void {
    foreach (['fr_FR' => 'Reprendre les équipements', 'en_US' => 'Taking over the equipment'] as $language => $text) {
        translate::setLanguage($language);
        $html = Manual::html('index');
        Check::has($text, $html);
        foreach (['**', '](', '![', "\n# ", '```', '|--'] as $mark) {
            Check::hasNot($mark, (string) preg_replace('#<(pre|code)>.*?</\1>#s', '', $html));
        }
        preg_match_all('/href="#([^"]+)"/', $html, $links);
        foreach ($links[1] as $anchor) {
            Check::has('id="' . $anchor . '"', $html);
        }
        Check::same(
            substr_count((string) file_get_contents(__DIR__ . "/../../../plugin-jeedom/docs/$language/index.md"), '!['),
            substr_count($html, 'src="data:image/png;base64,'),
            'each picture is in it'
        );
        Check::has('0.1.0', Manual::html('changelog'));
    }
});

Cases::add('what is in a document is text, and pictures are its own', static function (Jeedom $jeedom): void {
    $html = Manual::render("# <b>\"x\"\n\na `<i>` ![y](/etc/passwd) ![z](../../../../../etc/hostname.png) [k](javascript:x)\n\n- 1 & 2", __DIR__ . '/');
    foreach (['<b>', '<i>', 'base64', '<a '] as $not) {
        Check::hasNot($not, $html);
    }
    Check::has('<li>1 &amp; 2</li>', $html);
});
