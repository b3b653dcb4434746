<?php

/*
 * This file is part of domoflux, a plugin of Jeedom. It is free software under the GPL, version 3 or later.
 */

require_once __DIR__ . '/../../../core/php/core.inc.php';
include_file('core', 'authentification', 'php');
if (!isConnect('admin')) {
    include_file('desktop', '404', 'php');
    die();
}
?>
<form class="form-horizontal">
    <fieldset>
        <div class="form-group">
            <label class="col-md-4 control-label">{{Port de l'API du démon}}
                <sup><i class="fas fa-question-circle tooltips" title="{{Sur 127.0.0.1 seulement. À changer si un autre programme utilise déjà ce port ; le démon est à redémarrer ensuite.}}"></i></sup>
            </label>
            <div class="col-md-2">
                <input class="configKey form-control" data-l1key="port" placeholder="55170" inputmode="numeric">
            </div>
        </div>
        <div class="form-group">
            <label class="col-md-4 control-label">{{Adresse de rappel de Jeedom}}
                <sup><i class="fas fa-question-circle tooltips" title="{{Où le démon signale à Jeedom ce qui change. Vide : l'adresse interne de Jeedom, par 127.0.0.1. À remplir si Jeedom répond localement sur un autre port.}}"></i></sup>
            </label>
            <div class="col-md-4">
                <input class="configKey form-control" data-l1key="callback" placeholder="http://127.0.0.1:80">
            </div>
        </div>
    </fieldset>
</form>
