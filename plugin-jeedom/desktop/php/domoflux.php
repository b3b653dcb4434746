<?php
if (!isConnect('admin')) {
    throw new Exception('{{401 - Accès non autorisé}}');
}
$plugin = plugin::byId('domoflux');
sendVarToJS('eqType', $plugin->getId());
/** @var domoflux[] $eqLogics */
$eqLogics = eqLogic::byType($plugin->getId());

$text = static function ($value) {
    return htmlspecialchars((string) $value, ENT_QUOTES, 'UTF-8');
};
// By the database: objects of trafficmirror would run its code.
$importable = DB::Prepare('SELECT COUNT(*) AS n FROM eqLogic WHERE eqType_name = :type', ['type' => 'trafficmirror'])['n'] > 0;
foreach ($eqLogics as $eqLogic) {
    $importable = $importable || $eqLogic->getConfiguration('imported', '') !== '';
}
?>
<div class="row row-overflow" id="domoflux_page">
    <div class="col-xs-12 eqLogicThumbnailDisplay">
        <legend><i class="fas fa-cog"></i> {{Gestion}}</legend>
        <div class="eqLogicThumbnailContainer">
            <div class="cursor logoPrimary" role="button" tabindex="0" data-domoflux-action="addFlow">
                <i class="fas fa-plus-circle"></i>
                <br>
                <span>{{Ajouter}}</span>
            </div>
            <?php if ($importable) { ?>
                <div class="cursor logoSecondary" role="button" tabindex="0" data-domoflux-action="importFlows">
                    <i class="fas fa-file-import"></i>
                    <br>
                    <span>{{Importer}}</span>
                </div>
            <?php } ?>
            <div class="cursor eqLogicAction logoSecondary" data-action="gotoPluginConf">
                <i class="fas fa-wrench"></i>
                <br>
                <span>{{Configuration}}</span>
            </div>
            <div class="cursor logoSecondary" role="button" tabindex="0" data-domoflux-action="health">
                <i class="fas fa-medkit"></i>
                <br>
                <span>{{Santé}}</span>
            </div>
            <div class="cursor logoSecondary" role="link" tabindex="0" data-domoflux-action="documentation" data-url="<?php
                echo $text(str_replace('#language#', translate::getLanguage(), (string) $plugin->getDocumentation()));
            ?>">
                <i class="fas fa-book"></i>
                <br>
                <span>{{Documentation}}</span>
            </div>
        </div>
        <legend><i class="fas fa-code-branch"></i> {{Mes flux}}</legend>
        <?php if (count($eqLogics) === 0) { ?>
            <br>
            <div class="text-center" style="font-size:1.2em;font-weight:bold;">
                {{Aucun flux pour le moment, cliquez sur "Ajouter" pour commencer}}
            </div>
        <?php } else { ?>
            <div class="input-group" style="margin:5px;">
                <input class="form-control roundedLeft" placeholder="{{Rechercher}}" aria-label="{{Rechercher}}" id="in_searchEqlogic">
                <div class="input-group-btn">
                    <a id="bt_resetSearch" class="btn" style="width:30px" title="{{Effacer}}"><i class="fas fa-times"></i></a>
                    <a class="btn roundedRight hidden" id="bt_pluginDisplayAsTable" data-coreSupport="1" data-state="0"><i class="fas fa-grip-lines"></i></a>
                </div>
            </div>
            <div class="eqLogicThumbnailContainer">
                <?php foreach ($eqLogics as $eqLogic) {
                    $kind = Domoflux\Kinds::title($eqLogic->kind());
                    $light = Domoflux\Widget::light($eqLogic);
                    // The core has the object's icon in it, and the name as it is.
                    $end = $eqLogic->getName() . '</strong>';
                    $name = str_replace($end, $text($eqLogic->getName()) . '</strong>', $eqLogic->getHumanName(true, true));
                    ?>
                    <div class="eqLogicDisplayCard cursor <?php echo $eqLogic->getIsEnable() ? '' : 'disableCard'; ?>"
                        data-eqLogic_id="<?php echo $text($eqLogic->getId()); ?>">
                        <img src="<?php echo $text($eqLogic->getImage()); ?>" alt="">
                        <br>
                        <span class="name"><?php echo $name; ?></span>
                        <span class="domoflux-card-state" title="<?php echo $text($text($kind . ', ' . $light['text'])); ?>">
                            <i class="fas fa-circle domoflux-light-<?php echo $light['level']; ?>"></i>
                            <span class="domoflux-card-kind"><?php echo $text($kind); ?></span>
                        </span>
                        <span class="hiddenAsCard displayTableRight hidden">
                            <span><?php echo $text($kind . ', ' . $light['text']); ?></span>
                            <?php echo ($eqLogic->getIsVisible() == 1) ? '<i class="fas fa-eye" title="{{Équipement visible}}"></i>'
                                : '<i class="fas fa-eye-slash" title="{{Équipement non visible}}"></i>'; ?>
                        </span>
                    </div>
                <?php } ?>
            </div>
        <?php } ?>
    </div>

    <div class="col-xs-12 eqLogic" style="display: none;">
        <div class="input-group pull-right" style="display:inline-flex;">
            <span class="input-group-btn">
                <!-- The tags end on the next line: no space between the buttons. -->
                <a class="btn btn-sm btn-default roundedLeft" data-domoflux-action="probe" role="button" tabindex="0"
                    title="{{Se connecter à ce que la configuration nomme, sans la sauvegarder}}"><i class="fas fa-stethoscope"></i> {{Tester}}
                </a><a class="btn btn-sm btn-default eqLogicAction" data-action="configure"><i class="fas fa-cogs"></i><span class="hidden-xs"> {{Configuration avancée}}</span>
                </a><a class="btn btn-sm btn-default eqLogicAction" data-action="copy"><i class="fas fa-copy"></i><span class="hidden-xs"> {{Dupliquer}}</span>
                </a><a class="btn btn-sm btn-success eqLogicAction" data-action="save"><i class="fas fa-check-circle"></i> {{Sauvegarder}}
                </a><a class="btn btn-sm btn-danger eqLogicAction roundedRight" data-action="remove"><i class="fas fa-minus-circle"></i> {{Supprimer}}
                </a>
            </span>
        </div>
        <ul class="nav nav-tabs" role="tablist">
            <li role="presentation"><a href="#" class="eqLogicAction" aria-controls="home" role="tab" data-toggle="tab" data-action="returnToThumbnailDisplay" title="{{Retour}}"><i class="fas fa-arrow-circle-left"></i></a></li>
            <li role="presentation" class="active"><a href="#eqlogictab" aria-controls="eqlogictab" role="tab" data-toggle="tab"><i class="fas fa-tachometer-alt"></i> {{Équipement}}</a></li>
            <li role="presentation"><a href="#commandtab" aria-controls="commandtab" role="tab" data-toggle="tab"><i class="fas fa-list"></i> {{Commandes}}</a></li>
            <li role="presentation"><a href="#livetab" aria-controls="livetab" role="tab" data-toggle="tab"><i class="fas fa-heartbeat"></i> {{En direct}}</a></li>
        </ul>
        <div class="tab-content">
            <div role="tabpanel" class="tab-pane active" id="eqlogictab">
                <form class="form-horizontal" onsubmit="return false">
                    <fieldset>
                        <div class="col-lg-6">
                            <legend><i class="fas fa-wrench"></i> {{Paramètres généraux}}</legend>
                            <input type="text" class="eqLogicAttr" data-l1key="id" style="display:none;">
                            <input type="text" class="eqLogicAttr" data-l1key="configuration" data-l2key="kind" data-domoflux="kind" style="display:none;">
                            <input type="text" class="eqLogicAttr" data-l1key="configuration" data-l2key="spec" data-domoflux="spec" style="display:none;">
                            <div class="form-group">
                                <label class="col-sm-4 control-label" for="domoflux_name">{{Nom de l'équipement}}</label>
                                <div class="col-sm-8">
                                    <input type="text" class="eqLogicAttr form-control" id="domoflux_name" data-l1key="name" placeholder="{{Nom de l'équipement}}">
                                </div>
                            </div>
                            <div class="form-group">
                                <label class="col-sm-4 control-label" for="sel_object">{{Objet parent}}</label>
                                <div class="col-sm-8">
                                    <select id="sel_object" class="eqLogicAttr form-control" data-l1key="object_id">
                                        <option value="">{{Aucun}}</option>
                                        <?php foreach (jeeObject::buildTree(null, false) as $object) {
                                            echo '<option value="' . $text($object->getId()) . '">'
                                                . str_repeat('&nbsp;&nbsp;', (int) $object->getConfiguration('parentNumber'))
                                                . $text($object->getName()) . '</option>';
                                        } ?>
                                    </select>
                                </div>
                            </div>
                            <div class="form-group">
                                <label class="col-sm-4 control-label">{{Catégorie}}</label>
                                <div class="col-sm-8">
                                    <?php foreach (jeedom::getConfiguration('eqLogic:category') as $key => $value) {
                                        echo '<label class="checkbox-inline"><input type="checkbox" class="eqLogicAttr" data-l1key="category" data-l2key="'
                                            . $text($key) . '">' . $text($value['name']) . '</label>';
                                    } ?>
                                </div>
                            </div>
                            <div class="form-group">
                                <label class="col-sm-4 control-label">{{Options}}</label>
                                <div class="col-sm-8">
                                    <label class="checkbox-inline"><input type="checkbox" class="eqLogicAttr" data-l1key="isEnable" data-domoflux="isEnable" checked>{{Activer}}</label>
                                    <label class="checkbox-inline"><input type="checkbox" class="eqLogicAttr" data-l1key="isVisible" checked>{{Visible}}</label>
                                </div>
                            </div>
                            <legend><i class="fas fa-info"></i> {{Informations}}</legend>
                            <div data-domoflux="summary"></div>
                            <div class="form-group">
                                <label class="col-sm-4 control-label" for="domoflux_comment">{{Description}}</label>
                                <div class="col-sm-8">
                                    <textarea class="form-control eqLogicAttr autogrow" id="domoflux_comment" data-l1key="comment"></textarea>
                                </div>
                            </div>
                        </div>
                        <div class="col-lg-6">
                            <legend><i class="fas fa-cogs"></i> {{Flux :}} <span data-domoflux="kindTitle"></span></legend>
                            <div class="domoflux-hint" data-domoflux="kindHelp"></div>
                            <div class="domoflux-tested" data-domoflux="findings" role="status"></div>
                            <div data-domoflux="form"></div>
                        </div>
                    </fieldset>
                </form>
            </div>
            <div role="tabpanel" class="tab-pane" id="commandtab">
                <br>
                <div class="table-responsive">
                    <table id="table_cmd" class="table table-bordered table-condensed">
                        <thead>
                            <tr>
                                <th class="hidden-xs" style="min-width:50px;width:70px;">ID</th>
                                <th style="min-width:200px;width:350px;">{{Nom}}</th>
                                <th>{{Type}}</th>
                                <th style="min-width:260px;">{{Options}}</th>
                                <th>{{État}}</th>
                                <th style="min-width:80px;width:200px;">{{Actions}}</th>
                            </tr>
                        </thead>
                        <tbody>
                        </tbody>
                    </table>
                </div>
            </div>
            <div role="tabpanel" class="tab-pane" id="livetab">
                <div class="domoflux-live" data-domoflux="live"></div>
            </div>
        </div>
    </div>
</div>

<?php
include_file('desktop', 'domoflux', 'css', 'domoflux');
foreach (['dom', 'texts', 'format', 'schema', 'fields', 'slot', 'groups', 'form', 'live', 'ajax', 'add', 'commands', 'page'] as $name) {
    include_file('desktop', 'domoflux.' . $name, 'js', 'domoflux');
}
include_file('desktop', 'domoflux', 'js', 'domoflux');
include_file('core', 'plugin.template', 'js');
