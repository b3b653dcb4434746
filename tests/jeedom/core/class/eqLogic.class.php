<?php

class eqLogic
{
    protected $id;
    protected $name;
    protected $logicalId = '';
    protected $generic_type;
    protected $object_id = null;
    protected $eqType_name;
    protected $isVisible = 0;
    protected $isEnable = 0;
    protected $configuration;
    protected $timeout = 0;
    protected $category;
    protected $display;
    protected $order = 9999;
    protected $comment;
    protected $tags;
    protected $_changed = false;
    protected $_needRefreshWidget = false;
    protected $_cmds = [];

    // ---- Reading

    /** @return eqLogic|void */
    public static function byId($_id)
    {
        if ($_id == '') {
            return;
        }
        $sql = 'SELECT ' . DB::buildField(__CLASS__) . ' FROM eqLogic WHERE id = :id';
        return self::cast(DB::Prepare($sql, ['id' => $_id], DB::FETCH_TYPE_ROW, PDO::FETCH_CLASS, __CLASS__));
    }

    /** @return eqLogic[] */
    public static function byType($_eqType_name, $_onlyEnable = false)
    {
        $sql = 'SELECT ' . DB::buildField(__CLASS__) . ' FROM eqLogic WHERE eqType_name = :eqType_name' . ($_onlyEnable ? ' AND isEnable = 1' : '')
            . ' ORDER BY name';
        $class = class_exists($_eqType_name) ? $_eqType_name : __CLASS__;
        return DB::Prepare($sql, ['eqType_name' => $_eqType_name], DB::FETCH_TYPE_ALL, PDO::FETCH_CLASS, $class);
    }

    private static function cast($_input)
    {
        if (!is_object($_input) || !class_exists($_input->getEqType_name())) {
            return $_input;
        }
        $object = cast($_input, $_input->getEqType_name());
        if (method_exists($object, 'decrypt')) {
            $object->decrypt();
        }
        return $object;
    }

    // ---- Saving and removing

    public function getTableName()
    {
        return 'eqLogic';
    }

    public function save($_direct = false)
    {
        if ($this->getName() == '') {
            throw new Exception(__('Le nom de l\'équipement ne peut pas être vide :', __FILE__));
        }
        if ($this->getChanged()) {
            $this->setConfiguration($this->getId() != '' ? 'updatetime' : 'createtime', date('Y-m-d H:i:s'));
        }
        DB::save($this, $_direct);
        if ($this->_needRefreshWidget) {
            $this->refreshWidget();
        }
    }

    public function remove()
    {
        foreach ($this->getCmd() as $cmd) {
            $cmd->remove();
        }
        cache::delete('eqLogicCacheAttr' . $this->getId());
        cache::delete('eqLogicStatusAttr' . $this->getId());
        return DB::remove($this);
    }

    public function copy($_name)
    {
        $copy = clone $this;
        $copy->setName($_name);
        $copy->setId('');
        $copy->save();
        foreach ($copy->getCmd() as $cmd) {
            $cmd->remove();
        }
        foreach ($this->getCmd() as $cmd) {
            $cmdCopy = clone $cmd;
            $cmdCopy->setId('');
            $cmdCopy->setEqLogic_id($copy->getId());
            $cmdCopy->save();
        }
        return $copy;
    }

    public function refreshWidget()
    {
        $this->_needRefreshWidget = false;
        event::add('eqLogic::update', ['eqLogic_id' => $this->getId(), 'visible' => $this->getIsVisible(), 'enable' => $this->getIsEnable()]);
    }

    // ---- Commands

    /** @return cmd|cmd[]|false */
    public function getCmd($_type = null, $_logicalId = null, $_visible = null, $_multiple = false)
    {
        $key = $_logicalId . '.' . $_multiple . '.' . $_type;
        if ($_logicalId !== null && isset($this->_cmds[$key])) {
            return $this->_cmds[$key];
        }
        $cmds = $_logicalId === null
            ? cmd::byEqLogicId($this->id, $_type, $_visible, $this)
            : cmd::byEqLogicIdAndLogicalId($this->id, $_logicalId, $_multiple, $_type, $this);
        foreach (is_array($cmds) ? $cmds : array_filter([$cmds]) as $cmd) {
            $cmd->setEqLogic($this);
        }
        if ($_logicalId !== null && is_object($cmds)) {
            $this->_cmds[$key] = $cmds;
        }
        return $cmds;
    }

    public function checkAndUpdateCmd($_logicalId, $_value, $_updateTime = null)
    {
        if ($this->getIsEnable() == 0) {
            return false;
        }
        $cmd = is_object($_logicalId) ? $_logicalId : $this->getCmd('info', $_logicalId);
        if (!is_object($cmd)) {
            return false;
        }
        $old = $cmd->execCmd();
        if ($old !== $cmd->formatValue($_value) || $old === '') {
            $cmd->event($_value, $_updateTime);
            return true;
        }
        if ($_updateTime === null) {
            $cmd->setCache('collectDate', date('Y-m-d H:i:s'));
            $this->setStatus(['lastCommunication' => date('Y-m-d H:i:s'), 'timeout' => 0]);
        }
        return false;
    }

    // ---- What it is

    public function getHumanName($_tag = false, $_prettify = false)
    {
        return '[' . __('Aucun', __FILE__) . '][' . $this->getName() . ']';
    }

    public function getLinkToConfiguration()
    {
        return 'index.php?v=d&p=' . $this->getEqType_name() . '&m=' . $this->getEqType_name() . '&id=' . $this->getId();
    }

    /** Its widget; the plugin's own fills it in. */
    public function toHtml($_version = 'dashboard')
    {
        return '';
    }

    public function preToHtml($_version = 'dashboard', $_default = [], $_noCache = false)
    {
        if (!$this->getIsEnable()) {
            return '';
        }
        $uid = 'eqLogic' . $this->getId() . '__' . mt_rand() . '__';
        return [
            '#id#' => $this->getId(), '#name#' => $this->getName(), '#name_display#' => $this->getName(), '#eqLink#' => $this->getLinkToConfiguration(),
            '#uid#' => $uid, '#refresh_id#' => '', '#version#' => $_version, '#eqType#' => $this->getEqType_name(), '#height#' => 'auto', '#width#' => 'auto',
            '#category#' => '', '#translate_category#' => '', '#style#' => '', '#object_name#' => __('Aucun', __FILE__), '#alert_name#' => '',
            '#alert_icon#' => '', '#custom_layout#' => '', '#tags#' => '', '#generic_type#' => '', '#isVerticalAlign#' => '', '#class#' => '',
            '#divGraphInfo#' => '', '#panelLink#' => '',
        ];
    }

    public function postToHtml($_version, $_html)
    {
        return $_html;
    }

    public function getImage()
    {
        return 'plugins/' . $this->getEqType_name() . '/plugin_info/' . $this->getEqType_name() . '_icon.png';
    }

    public function getObject()
    {
        return jeeObject::byId($this->object_id);
    }

    public function getId()
    {
        return $this->id;
    }

    public function setId($_id)
    {
        return $this->changed('id', $_id);
    }

    public function getName()
    {
        return $this->name;
    }

    public function setName($_name)
    {
        return $this->shown('name', trim(substr(cleanComponanteName($_name), 0, 127)));
    }

    public function getLogicalId()
    {
        return $this->logicalId;
    }

    public function setLogicalId($_logicalId)
    {
        return $this->changed('logicalId', $_logicalId);
    }

    public function getObject_id()
    {
        return $this->object_id;
    }

    public function setObject_id($object_id = null)
    {
        return $this->changed('object_id', is_numeric($object_id) ? $object_id : null);
    }

    public function getEqType_name()
    {
        return $this->eqType_name;
    }

    public function setEqType_name($eqType_name)
    {
        return $this->changed('eqType_name', $eqType_name);
    }

    public function getIsVisible($_default = 0)
    {
        return is_numeric($this->isVisible) ? $this->isVisible : $_default;
    }

    public function setIsVisible($_isVisible)
    {
        return $this->shown('isVisible', $_isVisible);
    }

    public function getIsEnable($_default = 0)
    {
        return is_numeric($this->isEnable) ? $this->isEnable : $_default;
    }

    public function setIsEnable($_isEnable)
    {
        if ($this->isEnable != $_isEnable && $_isEnable) {
            $now = date('Y-m-d H:i:s');
            $this->setStatus(['lastCommunication' => $now, 'timeout' => 0, 'enableDatime' => $now]);
        }
        return $this->shown('isEnable', $_isEnable);
    }

    public function getTimeout($_default = null)
    {
        return is_numeric($this->timeout) ? $this->timeout : $_default;
    }

    public function setTimeout($_timeout)
    {
        return $this->changed('timeout', is_numeric($_timeout) && $_timeout >= 1 ? $_timeout : null);
    }

    public function getConfiguration($_key = '', $_default = '')
    {
        return utils::getJsonAttr($this->configuration, $_key, $_default);
    }

    public function setConfiguration($_key, $_value)
    {
        return $this->changed('configuration', utils::setJsonAttr($this->configuration, $_key, $_value));
    }

    public function getDisplay($_key = '', $_default = '')
    {
        return utils::getJsonAttr($this->display, $_key, $_default);
    }

    public function setDisplay($_key, $_value)
    {
        return $this->shown('display', utils::setJsonAttr($this->display, $_key, $_value));
    }

    public function getCategory($_key = '', $_default = '')
    {
        return utils::getJsonAttr($this->category, $_key, $_default);
    }

    public function setCategory($_key, $_value)
    {
        return $this->shown('category', utils::setJsonAttr($this->category, $_key, $_value));
    }

    public function getOrder()
    {
        return is_numeric($this->order) ? $this->order : 0;
    }

    public function getCache($_key = '', $_default = '')
    {
        $cache = cache::byKey('eqLogicCacheAttr' . $this->getId())->getValue();
        return utils::getJsonAttr($cache, $_key, $_default);
    }

    public function setCache($_key, $_value = null)
    {
        $key = 'eqLogicCacheAttr' . $this->getId();
        cache::set($key, utils::setJsonAttr(cache::byKey($key)->getValue(), $_key, $_value));
    }

    public function getStatus($_key = '', $_default = '')
    {
        $status = cache::byKey('eqLogicStatusAttr' . $this->getId())->getValue();
        return utils::getJsonAttr($status, $_key, $_default);
    }

    public function setStatus($_key, $_value = null)
    {
        global $JEEDOM_INTERNAL_CONFIG;
        $shown = false;
        foreach (is_array($_key) ? $_key : [$_key => $_value] as $name => $value) {
            $shown = $shown || (isset($JEEDOM_INTERNAL_CONFIG['alerts'][$name]) && $this->getStatus($name) != $value);
        }
        $key = 'eqLogicStatusAttr' . $this->getId();
        cache::set($key, utils::setJsonAttr(cache::byKey($key)->getValue(), $_key, $_value));
        if ($shown) {
            $this->refreshWidget();
        }
    }

    public function getChanged()
    {
        return $this->_changed;
    }

    public function setChanged($_changed)
    {
        $this->_changed = $_changed;
        return $this;
    }

    private function changed(string $field, $value)
    {
        $this->_changed = utils::attrChanged($this->_changed, $this->$field, $value);
        $this->$field = $value;
        return $this;
    }

    private function shown(string $field, $value)
    {
        $this->_needRefreshWidget = $this->_needRefreshWidget || $this->$field != $value;
        return $this->changed($field, $value);
    }
}
